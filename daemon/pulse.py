"""Signs of life in a stream: reading a long prompt may take minutes, and proxies cut what is silent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 10.0  # seconds


async def pulsed(items: AsyncGenerator[T, None]) -> AsyncGenerator[T | None, None]:
    """The items, and None whenever there was none for INTERVAL seconds."""
    async with aclosing(items):
        while True:
            coming = asyncio.create_task(_next(items))
            try:
                while not coming.done():
                    await asyncio.wait([coming], timeout=INTERVAL)
                    if not coming.done():
                        yield None
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait([coming])
            if (item := coming.result()) is None:
                return
            yield item


async def _next(items: AsyncGenerator[T, None]) -> T | None:
    return await anext(items, None)
