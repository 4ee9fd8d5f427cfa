"""Pulls: all downloads of a daemon, in a thread of their own, so that the daemon answers while they run."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ktd.registry.errors import PullStopped
from ktd.registry.fit import Probe
from ktd.registry.names import ModelName
from ktd.registry.news import Arrived, Said
from ktd.registry.pulls.fetch import Fetch
from ktd.registry.pulls.journal import FAILED, PAUSED, STOPPED, Journal, Request, Unfinished
from ktd.registry.pulls.limits import Limits
from ktd.registry.pulls.means import Means
from ktd.registry.pulls.pull import FileProgress, Pull
from ktd.registry.pulls.stage import Stage
from ktd.registry.record import ModelRecord
from ktd.registry.sources.hubs import Hubs
from ktd.registry.store import Registry

T = TypeVar("T")
TICK = 0.06  # seconds between looks at a pull's progress
THREADS = 8


Event = Said | Arrived | ModelRecord


class Shared:
    """One running pull and how many clients want it."""

    def __init__(self, pull: Pull) -> None:
        self.pull = pull
        self.users = 0
        self.detached = False  # goes on without clients
        self.ending = STOPPED  # the state it is left in when it is cancelled
        self.task: asyncio.Task[ModelRecord]
        self.done: Future[ModelRecord] = Future()


class Pulls:
    """Its methods may be called from any thread; `follow` from any event loop."""

    def __init__(self, registry: Registry, hubs: Hubs, probe: Probe, limits: Limits) -> None:
        self.limits = limits  # may be changed at any time
        stage = Stage(registry.home)
        fetch = Fetch(limits, ThreadPoolExecutor(THREADS, "fetch"), stage)
        self._registry = registry
        self._means = Means(registry, registry.journal, hubs, fetch, probe, stage)
        self._running: dict[str, Shared] = {}
        self._stopping = False
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._journal.recover()

    @property
    def _journal(self) -> Journal:
        return self._registry.journal

    @property
    def busy(self) -> bool:
        return bool(self._running)

    async def follow(self, request: Request) -> AsyncGenerator[Event, None]:
        """Pull a model, or join those who pull it. Ends with the model; closing it leaves, and the last one stops it.

        Raises `RegistryError`s.
        """
        shared = await asyncio.wrap_future(self._call(self._join(request)))
        try:
            async for event in _events(shared):
                yield event
        finally:
            await asyncio.shield(asyncio.wrap_future(self._call(self._leave(shared))))

    def resume(self, name: ModelName) -> None:
        """Go on without a client. Raises `NoSuchDownload`."""
        request = self._journal.find(name).request
        self._call(self._detach(request)).result()

    def pause(self, name: ModelName) -> None:
        """Stop it and keep what is here. Raises `NoSuchDownload`."""
        self._journal.find(name)
        self._call(self._end(name, PAUSED)).result()
        self._journal.stop(name, PAUSED)

    def cancel(self, name: ModelName) -> None:
        """Stop it and remove what is here, but for what another running pull wants. Raises `NoSuchDownload`."""
        unfinished = self._journal.find(name)
        self._call(self._end(name, STOPPED)).result()
        self._forget(unfinished, self._call(self._others(name)).result())

    def unfinished(self) -> Sequence[tuple[Unfinished, int]]:
        """Every pull that is not done, with the bytes of it that are here."""
        return [(one, sum(self._means.here(*file) for file in one.files)) for one in self._journal.unfinished()]

    def stop(self) -> None:
        """Stop all, for good; what is here stays."""
        self._stopping = True
        if self._loop is not None:
            self._call(self._end_all()).result()

    def close(self) -> None:
        """`stop`, and end the thread; nobody may follow any more."""
        self.stop()
        with self._lock:
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _forget(self, unfinished: Unfinished, heirs: Mapping[str, ModelName]) -> None:
        unwanted = [digest for digest, _ in unfinished.files if digest not in heirs]
        for digest in unwanted:
            self._means.stage.discard(digest)
        self._journal.forget(unfinished.request.name, heirs)
        self._registry.discard_unused([f"sha256:{digest}" for digest in unwanted])

    async def _others(self, name: ModelName) -> dict[str, ModelName]:
        """By the digests that running pulls want, other than this one: one of those."""
        pulls = [shared.pull for key, shared in self._running.items() if key != name.key]
        return {digest: pull.request.name for pull in pulls for digest in pull.digests}

    async def _join(self, request: Request) -> Shared:
        shared = self._shared(request)
        shared.users += 1
        return shared

    async def _detach(self, request: Request) -> None:
        self._shared(request).detached = True

    async def _leave(self, shared: Shared) -> None:
        shared.users -= 1
        if not shared.users and not shared.detached and not shared.task.done():
            shared.task.cancel()
            await asyncio.wait([shared.task])

    async def _end(self, name: ModelName, state: str) -> None:
        if shared := self._running.get(name.key):
            shared.ending = state
            shared.task.cancel()
            await asyncio.wait([shared.task])

    async def _end_all(self) -> None:
        tasks = [shared.task for shared in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _shared(self, request: Request) -> Shared:
        """The pull of this name that runs, or a new one."""
        key = request.name.key
        if self._stopping:
            raise PullStopped("the daemon is shutting down")
        if key not in self._running:
            shared = self._running[key] = Shared(Pull(request, self._means))
            shared.task = asyncio.create_task(self._run(shared))
            shared.task.add_done_callback(lambda task: self._ended(key, shared, task))
        return self._running[key]

    async def _run(self, shared: Shared) -> ModelRecord:
        name = shared.pull.request.name
        await asyncio.to_thread(self._journal.begin, shared.pull.request)
        try:
            return await shared.pull.run()
        except asyncio.CancelledError:
            self._journal.stop(name, shared.ending)
            raise
        except Exception as error:
            self._journal.stop(name, FAILED, str(error))
            raise

    def _ended(self, key: str, shared: Shared, task: asyncio.Task[ModelRecord]) -> None:
        del self._running[key]
        if task.cancelled():
            reason = "paused" if shared.ending == PAUSED else "stopped"
            shared.done.set_exception(PullStopped(f"the download of '{shared.pull.request.name}' was {reason}"))
        elif error := task.exception():
            shared.done.set_exception(error)
        else:
            shared.done.set_result(task.result())

    def _call(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._started())

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(ThreadPoolExecutor(THREADS, "pull"))
                self._thread = threading.Thread(target=self._live, args=(self._loop,), name="pulls", daemon=True)
                self._thread.start()
            return self._loop

    @staticmethod
    def _live(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()


async def _events(shared: Shared) -> AsyncGenerator[Event, None]:
    """What is new in a pull, looked at again and again until it is done."""
    before = after = 0
    reported: dict[str, int] = {}
    while True:
        ended = shared.done.done()
        pull = shared.pull
        for status in pull.before[before:]:
            before += 1
            yield Said(status)
        for file in list(pull.files):
            if reported.get(file.digest) != file.received:
                reported[file.digest] = file.received
                yield _arrived(file)
        for status in pull.after[after:]:
            after += 1
            yield Said(status)
        if ended:
            yield shared.done.result()
            return
        await asyncio.sleep(TICK)


def _arrived(file: FileProgress) -> Arrived:
    return Arrived(file.path, file.digest, file.size, file.received)
