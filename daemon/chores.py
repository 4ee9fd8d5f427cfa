"""Chores: blocking work of the registry in threads of its own, with what it tells as a stream."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor

from ktd.registry.news import Said, Step
from ktd.registry.record import ModelRecord

Tell = Callable[[Said | Step], None]
Cancelled = Callable[[], bool]
Work = Callable[[Tell, Cancelled], ModelRecord]

TICK = 0.06  # seconds between steps that are passed on


class Chores:
    """`threads` of them at once: hashing 400 GB must not keep the daemon's other threads from the database."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._closing = threading.Event()

    async def run(self, work: Work) -> AsyncGenerator[Said | Step | ModelRecord, None]:
        """All that is said, the latest step of it now and then, at last the model. Closing it cancels the work."""
        loop = asyncio.get_running_loop()
        left = threading.Event()
        fresh = asyncio.Event()
        news = deque[Said | Step]()

        def note(one: Said | Step) -> None:
            if news and isinstance(news[-1], Step) and isinstance(one, Step):
                news.pop()  # out of date
            news.append(one)
            fresh.set()

        def tell(one: Said | Step) -> None:
            loop.call_soon_threadsafe(note, one)

        def cancelled() -> bool:
            return left.is_set() or self._closing.is_set()

        task = loop.run_in_executor(self._threads, work, tell, cancelled)
        task.add_done_callback(lambda _: fresh.set())
        try:
            while not task.done():
                await fresh.wait()
                fresh.clear()
                while news:
                    yield news.popleft()
                await asyncio.wait([task], timeout=TICK)
            while news:
                yield news.popleft()
            yield task.result()
        finally:
            left.set()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # seen: whoever closes early does not want it

    def close(self) -> None:
        """Cancel what runs and wait for it."""
        self._closing.set()
        self._threads.shutdown(cancel_futures=True)
