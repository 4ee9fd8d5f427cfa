"""Resident: one model in memory, or on its way there."""

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta

from ktd.daemon.engine_port import Worker
from ktd.engine.messages import LoadProgress
from ktd.registry.record import ModelRecord

CENTURIES = timedelta(days=100_000)  # how far away "never" is for clients that must read a date


class Resident:
    """Holds the load, then the worker. `users` are requests that wait for it or run on it."""

    def __init__(self, record: ModelRecord, asked: int | None, load: asyncio.Task[Worker]) -> None:
        self.record = record
        self.asked = asked  # context in tokens that it was loaded for; None: whatever the engine chose
        self.load = load
        self.progress = LoadProgress(0, record.size)
        self.users = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.keep_alive = math.inf
        self.used = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def worker(self) -> Worker | None:
        """None while loading, and when that failed."""
        return self.load.result() if self.load.done() and not self._failed else None

    @property
    def usable(self) -> bool:
        """Whether a new request may join: it is loading, or its worker lives."""
        return not self.load.done() or (self.worker is not None and self.worker.alive)

    @property
    def _failed(self) -> bool:
        return self.load.cancelled() or self.load.exception() is not None

    def fits(self, context: int | None) -> bool:
        """Whether a request that needs this context may run here, as far as is known while it loads.

        One load for a longer context than the model has is enough: `asked` counts as reached.
        """
        if context is None or self.worker is None:
            return True
        return context <= max(self.asked or 0, self.worker.loaded.context)

    def enter(self, keep_alive: float) -> None:
        self.users += 1
        self.idle.clear()
        self.keep_alive = keep_alive
        self.stop_timer()

    def leave(self) -> None:
        self.users -= 1
        self.used = time.monotonic()
        if self.users == 0:
            self.idle.set()

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    @property
    def expires_at(self) -> datetime:
        """When it will be unloaded if nothing more is asked of it."""
        now = datetime.now(UTC)
        left = self.keep_alive
        if self.timer is not None:
            left = max(self.timer.when() - asyncio.get_running_loop().time(), 0)
        return now + min(timedelta(seconds=min(left, CENTURIES.total_seconds())), CENTURIES)
