"""ModelHost: which models are in memory, and for how long.

A request leases a model: it is loaded if need be, shared with everyone who wants it, and stays for its keep-alive
time after the last lease ends. One model is loaded at a time, when those that leave have given back their memory.
The worker knows best what its model needs: when it refuses for want of memory, idle models leave, and it tries again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ktd.daemon.engine_port import Engine, Worker
from ktd.daemon.errors import Busy, LoadStalled, LoadStopped, Stopping
from ktd.daemon.resident import Resident
from ktd.daemon.settings import Settings
from ktd.engine.client import EngineError, LoadRefused
from ktd.engine.messages import Load, LoadProgress
from ktd.registry.record import ModelRecord


class ModelHost:
    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._residents: dict[str, Resident] = {}  # by their weights
        self._leaving: dict[asyncio.Task[None], Resident] = {}
        self._one_load = asyncio.Lock()
        self._freed = asyncio.Event()  # set whenever a resident becomes idle or is gone
        self._requests = 0
        self._stopping = False

    @asynccontextmanager
    async def lease(
        self, record: ModelRecord, context: int | None = None, keep_alive: float | None = None
    ) -> AsyncIterator[Worker]:
        """A ready worker for this model, for the time of the block.

        Raises Busy, Stopping, LoadStopped, LoadStalled, LoadRefused or WorkerDied.
        """
        self._admit()
        self._requests += 1
        context = _trained(record, context)
        try:
            while True:
                resident = self._claim(record, context, keep_alive)
                try:
                    worker = await asyncio.shield(resident.load)
                    if resident.fits(context):
                        yield worker
                        return
                finally:
                    self._release(resident)
        except (EngineError, LoadStopped) as error:
            if self._stopping:
                raise Stopping from error
            raise
        finally:
            self._requests -= 1

    async def unload(self, record: ModelRecord) -> None:
        """Unload when the running requests have ended; at once, and waiting for it, if there are none.

        Weights that other models share stay for those.
        """
        resident = self._residents.get(record.weights)
        if resident is not None:
            resident.give_up(record.name)
            leaving = self._settle(resident)
            if leaving is not None:
                await asyncio.shield(leaving)

    def residents(self) -> list[Resident]:
        """Those in memory or loading, the one that stays longest first."""
        usable = (resident for resident in self._residents.values() if resident.usable)
        return sorted(usable, key=lambda resident: resident.expires_at, reverse=True)

    @property
    def requests(self) -> int:
        """Those that wait for a model or run on it."""
        return self._requests

    async def close(self) -> None:
        """End every worker, whatever it is doing."""
        self._stopping = True
        for resident in list(self._residents.values()):
            self._retire(resident, patiently=False)
        while self._leaving:
            await asyncio.wait(self._leaving)

    def _admit(self) -> None:
        if self._stopping:
            raise Stopping
        if self._requests >= self._settings.max_queue:
            raise Busy

    def _claim(self, record: ModelRecord, context: int | None, keep_alive: float | None) -> Resident:
        resident = self._residents.get(record.weights)
        if resident is not None and not (resident.usable and resident.fits(context)):
            self._retire(resident, patiently=resident.usable)
            resident = None
        if resident is None:
            resident = self._begin(record, context)
        resident.enter(record, self._settings.keep_alive if keep_alive is None else keep_alive)
        return resident

    def _release(self, resident: Resident) -> None:
        resident.leave()
        self._settle(resident)

    def _begin(self, record: ModelRecord, context: int | None) -> Resident:
        asked = context or _trained(record, self._settings.context)

        async def load() -> Worker:
            return await self._load(resident)

        resident = Resident(record, asked, asyncio.create_task(load()))
        resident.load.add_done_callback(lambda _: self._loaded(resident))
        self._residents[record.weights] = resident
        return resident

    async def _load(self, resident: Resident) -> Worker:
        try:
            async with self._one_load:
                await self._make_room()
                return await self._fitted(resident)
        except asyncio.CancelledError:
            raise LoadStopped("the model was unloaded while it was being loaded") from None

    async def _fitted(self, resident: Resident) -> Worker:
        """Load it, having others leave as long as that helps; a shorter context than usual is the last resort."""
        whole = True
        while True:
            others = self._in_memory()
            try:
                return await self._attempt(resident, whole=whole and bool(others))
            except LoadRefused as refusal:
                if refusal.kind != "out_of_memory" or not others:
                    raise
                if refusal.short <= sum(each.worker.loaded.memory for each in others if each.worker):
                    await self._have_one_leave()
                elif whole:
                    whole = False
                else:
                    raise

    async def _attempt(self, resident: Resident, whole: bool) -> Worker:
        """One load, given up when it stands still."""
        settings, loop = self._settings, asyncio.get_running_loop()
        load = Load(
            files=tuple(map(str, resident.files)),
            context=resident.asked,
            threads=settings.threads,
            cache_type=settings.cache_type,
            cache_tokens=settings.cache_tokens,
            step_tokens=settings.step_tokens,
            parallel=settings.parallel,
            answer_tokens=settings.max_new_tokens,
            drafting=settings.drafting,
            lookup=settings.lookup,
            devices=settings.devices,
            gpu_experts=settings.gpu_experts,
            rules=settings.rules,
            reserved=sum(each.worker.loaded.mapped for each in self._in_memory() if each.worker),
            whole=whole,
        )
        try:
            async with asyncio.timeout(settings.load_timeout) as limit:

                def progress(step: LoadProgress) -> None:
                    resident.progress = step
                    limit.reschedule(loop.time() + settings.load_timeout)

                return await self._engine.load(load, progress)
        except TimeoutError:
            raise LoadStalled(settings.load_timeout, resident.progress) from None

    def _loaded(self, resident: Resident) -> None:
        """A load has ended, well or badly; those who wait for it learn it from the task."""
        if resident.worker is None:
            self._retire(resident, patiently=True)
        else:
            self._settle(resident)

    def _settle(self, resident: Resident) -> asyncio.Task[None] | None:
        """Start the keep-alive time of a resident that nobody uses. Returns its leaving, if it leaves now."""
        if resident.users or self._residents.get(resident.weights) is not resident:
            return None
        self._freed.set()
        resident.settle()
        if resident.keep_alive <= 0:
            return self._retire(resident, patiently=True)
        if resident.load.done():
            resident.start_timer(lambda: self._retire(resident, patiently=True))
        return None

    def _retire(self, resident: Resident, patiently: bool) -> asyncio.Task[None]:
        """Take it out of use, and end it: `patiently` after the requests that still run on it."""
        if self._residents.get(resident.weights) is resident:
            del self._residents[resident.weights]
        resident.stop_timer()
        task = asyncio.create_task(self._end(resident, patiently))
        self._leaving[task] = resident
        task.add_done_callback(self._gone)
        return task

    async def _end(self, resident: Resident, patiently: bool) -> None:
        if patiently:
            await resident.idle.wait()
        resident.load.cancel()
        await asyncio.wait([resident.load])
        if resident.worker is not None:
            await resident.worker.close()

    def _gone(self, task: asyncio.Task[None]) -> None:
        del self._leaving[task]
        self._freed.set()

    async def _make_room(self) -> None:
        """Wait for those that leave; then have the ones longest unused leave until one more may come."""
        while leaving := [task for task, resident in self._leaving.items() if resident.worker is not None]:
            await asyncio.wait(leaving)
        while len(self._in_memory()) >= self._settings.max_loaded:
            await self._have_one_leave()

    async def _have_one_leave(self) -> None:
        """End the idle model that was used longest ago; while all are in use, wait until one is not."""
        before = self._in_memory()
        while (there := self._in_memory()) and there == before:
            idle = [resident for resident in there if not resident.users]
            if idle:
                await self._retire(min(idle, key=lambda resident: resident.used), patiently=True)
                return
            self._freed.clear()
            await self._freed.wait()

    def _in_memory(self) -> list[Resident]:
        return [resident for resident in self._residents.values() if resident.worker is not None]


def _trained(record: ModelRecord, context: int | None) -> int | None:
    """A context no longer than the model was trained for: more would cost memory and answer nonsense."""
    longest = record.details.context_length
    return context if context is None or longest is None else min(context, longest)
