"""Means: what every pull of a daemon works with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from ktd.registry.disk import fetching
from ktd.registry.fit import Probe
from ktd.registry.pulls.fetch import Fetch
from ktd.registry.pulls.journal import Journal
from ktd.registry.pulls.stage import Stage
from ktd.registry.sources.hub import HubFile
from ktd.registry.sources.hubs import Hubs
from ktd.registry.store import Registry

HEADER = 16 << 20  # bytes; R1's takes some 6 MB


@dataclass(frozen=True, slots=True)
class Means:
    """`busy` has a lock for each digest that is being fetched."""

    registry: Registry
    journal: Journal
    hubs: Hubs
    fetch: Fetch
    probe: Probe
    stage: Stage
    busy: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def here(self, digest: str, size: int) -> int:
        """Bytes of a file that need not be fetched."""
        return size if self.registry.known(digest, size) else self.stage.received(digest, size)

    def beginning(self, file: HubFile) -> bytes:
        """The first bytes of a file that need not be fetched, as many as a header may take."""
        if known := self.registry.known(file.digest, file.size):
            with known.path.open("rb") as opened:
                return opened.read(HEADER)
        with fetching(self.stage.path(file.digest)):
            return self.stage.beginning(file.digest, file.size, HEADER)

    def keep(self, file: HubFile, beginning: bytes) -> None:
        """Bytes of a file that came before it was asked for."""
        with fetching(self.stage.path(file.digest)):
            self.stage.keep(file.digest, file.size, beginning)

    @asynccontextmanager
    async def undisturbed(self, file: HubFile) -> AsyncIterator[bool]:
        """Whether nobody else is fetching a file; then nobody begins to in the block."""
        lock = self.busy.setdefault(file.digest, asyncio.Lock())
        if lock.locked():
            yield False
            return
        async with lock:
            yield True
