"""Imports: blocking work of the registry, one import at a time, with its progress as a stream."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ktd.registry.record import ModelRecord

Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]
Work = Callable[[Progress, Cancelled], ModelRecord]


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes done, and bytes in all."""

    done: int
    total: int


class Imports:
    """Has a thread of its own: hashing 400 GB must not keep the daemon's other threads from the database."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "import")
        self._closing = threading.Event()

    async def run(self, work: Work) -> AsyncGenerator[Step | ModelRecord, None]:
        """The latest progress, as often as the reader asks for it, then the model. Closing it cancels the work."""
        loop = asyncio.get_running_loop()
        left = threading.Event()
        news = asyncio.Event()
        latest: list[Step] = []

        def progress(done: int, total: int) -> None:
            latest[:] = [Step(done, total)]
            loop.call_soon_threadsafe(news.set)

        def cancelled() -> bool:
            return left.is_set() or self._closing.is_set()

        task = loop.run_in_executor(self._thread, work, progress, cancelled)
        task.add_done_callback(lambda _: news.set())
        try:
            while not task.done():
                await news.wait()
                news.clear()
                if latest:
                    yield latest.pop()
            yield task.result()
        finally:
            left.set()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # seen: whoever closes early does not want it

    def close(self) -> None:
        """Cancel what runs and wait for it."""
        self._closing.set()
        self._thread.shutdown(cancel_futures=True)
