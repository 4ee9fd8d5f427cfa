"""Limits: how fast and over how many connections all pulls together may fetch."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    connections: int = 4
    rate: int | None = None  # bytes a second; None: as fast as it goes
    attempts: int = 6  # in a row that bring no byte, before a hub is given up
    first_wait: float = 0.5  # seconds after the first failure; doubled with each


class Pace:
    """Keeps all transfers together under a rate."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._free = 0.0  # when the line is free again

    async def spend(self, count: int) -> None:
        if self._rate is None:
            return
        now = time.monotonic()
        self._free = max(now, self._free) + count / self._rate
        await asyncio.sleep(max(0.0, self._free - now))
