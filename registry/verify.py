"""Verify: are files still the bytes of their digests; if not, fetch again what is bad, and only that."""

import asyncio
import os
import threading
from array import array
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ktd.registry.errors import BadDownload, HubUnreachable, ImportCancelled, ModelBroken, PullError
from ktd.registry.news import Arrived, Said
from ktd.registry.pulls.fetch import Fetch
from ktd.registry.pulls.hashes import PIECE, Hashes
from ktd.registry.pulls.journal import Origin
from ktd.registry.pulls.limits import Limits
from ktd.registry.pulls.pulls import TICK
from ktd.registry.pulls.relay import Source
from ktd.registry.pulls.stage import Stage
from ktd.registry.reference import Reference, contents
from ktd.registry.sources.hub import Hub
from ktd.registry.sources.hubs import Hubs
from ktd.registry.sources.transfer import Broken, RangeRefused, Transfer
from ktd.registry.store import Name, Registry

Ranges = Sequence[tuple[int, int]]
Stopped = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file, and where: (start, end) of its bad pieces, or None when that is not known."""

    problem: str
    ranges: Ranges | None


class Verifier:
    """Checks one file at a time, in a thread of its own."""

    def __init__(self, registry: Registry, hubs: Hubs, limits: Limits) -> None:
        self._registry = registry
        self._hubs = hubs
        self._limits = limits
        self._thread = ThreadPoolExecutor(2, "verify")
        self._closing = threading.Event()

    def close(self) -> None:
        self._closing.set()
        self._thread.shutdown()

    async def run(self, name: Name | None, repair: bool) -> AsyncGenerator[Arrived | Said, None]:
        """Check the files of a model, or of all. Ends well when all are right in the end.

        Raises `ModelBroken` when some are not, and what a transfer raises; closing it stops the check.
        """
        references = await asyncio.to_thread(self._registry.references, name)
        left = list[str]()
        for reference in references:
            async for event in self._check(reference, repair, left):
                yield event
        if left:
            hint = "" if repair else "; --repair fetches again what came from a hub"
            raise ModelBroken(f"{len(left)} of {len(references)} files are damaged{hint}")

    async def _check(self, reference: Reference, repair: bool, left: list[str]) -> AsyncGenerator[Arrived | Said, None]:
        origins = await asyncio.to_thread(self._registry.journal.origins, reference.digest)
        checksums = next((origin.checksums for origin in origins if origin.checksums), b"")
        name = origins[0].file.path if origins and self._is_ours(reference) else reference.path.name
        found = list[Damage | None]()
        async for event in self._inspect(reference, name, checksums, found):
            yield event
        damage = found[0]
        if damage is None:
            await asyncio.to_thread(self._registry.restamp, reference)
            return
        where = "" if damage.ranges is None else f", in {sum(end - start for start, end in damage.ranges)} bytes"
        yield Said(f"{reference.path} is damaged: {damage.problem}{where}")
        if repair and self._is_ours(reference) and origins:
            await self._mend(reference, damage, origins)
            yield Said(f"{reference.path} is mended")
        else:
            if repair:
                yield Said(f"{reference.path} did not come from a hub: put a good copy there and import it again")
            left.append(str(reference.path))

    def _is_ours(self, reference: Reference) -> bool:
        return reference.path == self._registry.blobs.path(reference.digest)

    async def _inspect(
        self, reference: Reference, name: str, checksums: bytes, found: list[Damage | None]
    ) -> AsyncGenerator[Arrived, None]:
        """Read the file, telling by its name at the hub how far it got."""
        left, read = threading.Event(), [0]

        def stopped() -> bool:
            return left.is_set() or self._closing.is_set()

        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, inspect, reference, checksums, read, stopped)
        try:
            while not work.done():
                yield _arrived(reference, name, read[0])
                await asyncio.wait([work], timeout=TICK)
            found.append(work.result())
            yield _arrived(reference, name, read[0])
        finally:
            left.set()
            await asyncio.wait([work])

    async def _mend(self, reference: Reference, damage: Damage, origins: Sequence[Origin]) -> None:
        """Fetch the bad ranges from the newest origin that still has them, or the whole file."""
        problem: Exception = HubUnreachable("no hub has it")
        for origin in origins:
            hub = self._hubs.named(origin.source)
            transfer = Transfer(hub.endpoint)
            try:
                if damage.ranges is None:
                    await self._fetch_whole(hub, transfer, origin, reference)
                else:
                    await self._fetch_ranges(hub, transfer, origin, reference, damage.ranges)
            except (PullError, Broken, RangeRefused, OSError) as error:
                problem = error
            else:
                await asyncio.to_thread(self._registry.restamp, reference)
                return
            finally:
                await transfer.close()
        raise HubUnreachable(f"{reference.path} cannot be mended: {problem}") from problem

    async def _fetch_whole(self, hub: Hub, transfer: Transfer, origin: Origin, reference: Reference) -> None:
        fetch = Fetch(self._limits, self._thread, Stage(self._registry.home))
        source = Source(hub, transfer, origin.listing, origin.file)
        with await fetch.file(source, lambda _: None) as partial:
            await asyncio.to_thread(partial.move, reference.path)

    async def _fetch_ranges(
        self, hub: Hub, transfer: Transfer, origin: Origin, reference: Reference, ranges: Ranges
    ) -> None:
        """In place: what is bad cannot become worse, and who has the file mapped gets the good bytes at once."""
        address = await asyncio.to_thread(hub.address, origin.listing, origin.file)
        with reference.path.open("r+b", buffering=0) as file:
            for start, end in ranges:
                position = start
                async with transfer.open(address, origin.file, start, end) as opened:
                    if opened.offset != start:
                        raise Broken(f"{hub.label} sends no ranges")
                    async for chunk in opened.chunks:
                        position += await asyncio.to_thread(os.pwrite, file.fileno(), chunk, position)
                if position != end:
                    raise Broken(f"the range ended at byte {position} of {end}")
            os.fsync(file.fileno())
        if (left := await asyncio.to_thread(inspect, reference, b"", [0], self._closing.is_set)) is not None:
            raise BadDownload(f"its bytes are still wrong: {left.problem}, wanted {reference.digest}")


def inspect(reference: Reference, checksums: bytes, read: list[int], stopped: Stopped) -> Damage | None:
    """Read a whole file, counting in `read[0]`; None when it is right. `checksums` are its download's, or empty."""
    path, size = reference.path, reference.stamp.size

    hashes = Hashes()
    try:
        actual = os.stat(path).st_size
        if actual != size:
            return Damage(f"it has {actual} bytes instead of {size}", None)
        with path.open("rb", buffering=0) as file:
            for data in contents(file):
                if stopped():
                    raise ImportCancelled(f"the check stopped while {path} was read")
                hashes.add(data)
                read[0] = hashes.count
    except OSError as error:
        return Damage(f"it cannot be read: {error.strerror}", None)
    if f"sha256:{hashes.digest}" == reference.digest:
        return None
    problem = f"want {reference.digest}, got sha256:{hashes.digest}"
    return Damage(problem, bad_ranges(hashes.checksums, checksums, size))


def bad_ranges(found: bytes, wanted: bytes, size: int) -> Ranges | None:
    """Where two lists of checksums differ; None when that tells nothing."""
    if len(found) != len(wanted):
        return None
    pairs = zip(array("I", found), array("I", wanted), strict=True)
    bad = [number for number, (one, other) in enumerate(pairs) if one != other]
    return tuple((number * PIECE, min((number + 1) * PIECE, size)) for number in bad) or None


def _arrived(reference: Reference, name: str, count: int) -> Arrived:
    return Arrived(name, reference.digest.removeprefix("sha256:"), reference.stamp.size, count)
