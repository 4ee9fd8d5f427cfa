"""Waiting for what other tasks do."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something has become true; the limit only ends a broken test."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
