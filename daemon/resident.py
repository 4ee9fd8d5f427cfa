"""Resident: the weights of one or more models in memory, or on their way there."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ktd.daemon.engine_port import Worker
from ktd.engine.messages import LoadProgress
from ktd.registry.names import ModelName
from ktd.registry.record import ModelRecord

CENTURIES = timedelta(days=100_000)  # how far away "never" is for clients that must read a date


@dataclass(frozen=True, slots=True)
class Claim:
    """A model that was asked for by its name, and for how many seconds after the last request it is wanted."""

    record: ModelRecord
    keep_alive: float


class Resident:
    """Holds the load, then the worker. `users` are requests that wait for it or run on it.

    Models with the same weights share it, each with a claim of its own: stopping one leaves it to the others.
    """

    def __init__(self, record: ModelRecord, asked: int | None, load: asyncio.Task[Worker]) -> None:
        self.weights = record.weights
        self.files = record.files
        self.asked = asked  # context in tokens that it was loaded for; None: whatever the engine chose
        self.load = load
        self.progress = LoadProgress(0, record.size)
        self.users = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.used = time.monotonic()
        self._claims: dict[ModelName, Claim] = {}
        self._timer: asyncio.TimerHandle | None = None

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

    @property
    def records(self) -> list[ModelRecord]:
        """The models that it is in memory for."""
        return [claim.record for claim in self._claims.values()]

    @property
    def keep_alive(self) -> float:
        """Seconds that it is to stay without a request."""
        return max((claim.keep_alive for claim in self._claims.values()), default=0.0)

    def enter(self, record: ModelRecord, keep_alive: float) -> None:
        self.users += 1
        self.idle.clear()
        self._claims[record.name] = Claim(record, keep_alive)
        self.stop_timer()

    def leave(self) -> None:
        self.users -= 1
        self.used = time.monotonic()
        if self.users == 0:
            self.idle.set()

    def give_up(self, name: ModelName) -> None:
        """This model is not wanted in memory any more, but for the requests that still run."""
        if name in self._claims:
            self._claims[name] = replace(self._claims[name], keep_alive=0.0)

    def settle(self) -> None:
        """Nobody uses it: what was wanted only for its requests is not wanted any more."""
        self._claims = {name: claim for name, claim in self._claims.items() if claim.keep_alive > 0}

    def start_timer(self, end: Callable[[], object]) -> None:
        """Have it end when its time is up, if it ever is."""
        self.stop_timer()
        if math.isfinite(self.keep_alive):
            self._timer = asyncio.get_running_loop().call_later(self.keep_alive, end)

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def expires_at(self) -> datetime:
        """When it will be unloaded if nothing more is asked of it."""
        left = self.keep_alive
        if self._timer is not None:
            left = max(self._timer.when() - asyncio.get_running_loop().time(), 0)
        return datetime.now(UTC) + timedelta(seconds=min(left, CENTURIES.total_seconds()))
