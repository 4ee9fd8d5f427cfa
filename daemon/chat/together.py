"""Several answers at once, in one stream."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def together(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[tuple[int, T], None]:
    """The items of all streams as they come, each with the number of its stream. What one raises ends them all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as items:
            async for each in items:
                yield 0, each
        return
    found: asyncio.Queue[tuple[int, T] | Exception | None] = asyncio.Queue(1)  # no faster than they are taken
    tasks = [asyncio.create_task(_forward(index, stream, found)) for index, stream in enumerate(streams)]
    running = len(tasks)
    try:
        while running:
            item = await found.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _forward(
    index: int, stream: AsyncGenerator[T, None], found: asyncio.Queue[tuple[int, T] | Exception | None]
) -> None:
    try:
        async with aclosing(stream):
            async for item in stream:
                await found.put((index, item))
    except Exception as error:  # it is raised where the items are taken
        await found.put(error)
    else:
        await found.put(None)
