"""Limits: how fast and over how many connections all pulls together may fetch. They may change while pulls run."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

GLANCE = 0.25  # seconds after which who waits for the line looks whether the rate has changed


@dataclass(slots=True)
class Limits:
    connections: int = 4
    rate: int | None = None  # bytes a second; None: as fast as it goes
    attempts: int = 6  # in a row that bring no byte, before a hub is given up
    first_wait: float = 0.5  # seconds after the first failure; doubled with each


class Pace:
    """Keeps all transfers together under the rate: nobody goes on before all bytes so far have had their time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._owed = 0.0  # bytes whose time has not passed yet
        self._seen = time.monotonic()

    async def spend(self, count: int) -> None:
        self._pass()
        self._owed += count
        while (rate := self._limits.rate) and self._owed > 0:
            await asyncio.sleep(min(self._owed / rate, GLANCE))
            self._pass()

    def _pass(self) -> None:
        now = time.monotonic()
        rate = self._limits.rate
        self._owed = max(0.0, self._owed - (now - self._seen) * rate) if rate else 0.0
        self._seen = now


class Slots:
    """A semaphore whose size may change; who waited longest goes first. Use it as an async context manager."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._used < self._size() and not self._waiting:
            self._used += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._used -= 1
        while self._waiting and self._used < self._size():
            turn = self._waiting.popleft()
            if not turn.done():
                self._used += 1
                turn.set_result(None)
