"""Relay: the missing rest of one file, fetched in pieces over several connections.

Pieces are written in their order, so that what lies on disk stays a prefix of the file, its own record however the
run ends. A piece is as long as a connection brings in a few seconds: no more than that is lost when the run ends.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ktd.registry.disk import is_full
from ktd.registry.errors import HubUnreachable, NoSpace, PullError
from ktd.registry.pulls.limits import Limits, Pace, Slots
from ktd.registry.pulls.partial import Partial
from ktd.registry.sources.hub import Hub, HubFile, Listing
from ktd.registry.sources.transfer import Broken, RangeRefused, Transfer

GATHERED = 1 << 20  # bytes handed to the disk at a time
ALONE = 8 << 20  # a rest up to this is fetched over one connection
SHORTEST, LONGEST = 1 << 20, 8 << 20  # bytes of a piece
QUICK, SLOW = 2.0, 6.0  # seconds for a piece, before the next ones are longer or shorter
LONGEST_PAUSE = 30.0

Progress = Callable[[int], None]  # bytes of the file that are here


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a hub, and the connections to it."""

    hub: Hub
    transfer: Transfer
    listing: Listing
    file: HubFile


class Line:
    """What all relays of a daemon share."""

    def __init__(self, limits: Limits, threads: Executor) -> None:
        self.limits = limits
        self.threads = threads  # do what blocks
        self.pace = Pace(limits)
        self.connections = Slots(lambda: limits.connections)
        self.pieces = Slots(lambda: 2 * limits.connections)  # in memory: some may wait for one that comes late
        self.relays = 0  # that run

    @property
    def share(self) -> int:
        """Pieces that each relay may have under way, so that all files grow alike."""
        return max(1, 2 * self.limits.connections // max(1, self.relays))


class NoRanges(Exception):
    """The hub does not have, or does not give, the bytes from the middle of the file on."""


@dataclass(slots=True)
class Piece:
    """Bytes [start, end) of the file: those before `reached` have come, and the last of them wait in `data`."""

    start: int
    end: int
    reached: int
    data: bytearray = field(default_factory=bytearray)
    written: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def whole(self) -> bool:
        return self.reached == self.end


class Relay:
    def __init__(self, line: Line, source: Source, partial: Partial, progress: Progress) -> None:
        self._line = line
        self._source = source
        self._partial = partial
        self._progress = progress
        self._alone = line.limits.connections == 1 or partial.size - partial.received <= ALONE
        self._length = SHORTEST
        self._disk = asyncio.Lock()
        self._begin()

    async def run(self) -> None:
        """Complete the file. Whatever stops it, the bytes that have come and follow those on disk are kept.

        Raises `PullError`.
        """
        self._line.relays += 1
        try:
            try:
                await self._bring_all()
            except NoRanges:
                self._alone = True
                self._partial.restart()
                self._begin()
                await self._bring_all()
        except BaseException:
            with suppress(PullError):
                await self._settle()
            raise
        finally:
            self._line.relays -= 1

    def _begin(self) -> None:
        self._here = self._next = self._partial.received  # bytes that have come; where the next piece begins
        self._pieces: deque[Piece] = deque()  # that are not on disk yet, in their order

    async def _bring_all(self) -> None:
        """The first failure stops the others."""
        try:
            async with asyncio.TaskGroup() as group:
                self._staff(group)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    def _staff(self, group: asyncio.TaskGroup) -> None:
        """Have as many pieces brought as may be; each that is done looks for more."""
        while self._next < self._partial.size and len(self._pieces) < (1 if self._alone else self._line.share):
            start, size = self._next, self._partial.size
            self._next = size if self._alone else min(start + self._length, size)
            self._pieces.append(Piece(start, self._next, start))
            group.create_task(self._bring(group, self._pieces[-1]))

    async def _bring(self, group: asyncio.TaskGroup, piece: Piece) -> None:
        async with self._line.pieces:
            async with self._line.connections:
                await self._fetch(piece)
            if self._is_first(piece):
                await self._settle()
            await piece.written.wait()
        self._staff(group)

    async def _fetch(self, piece: Piece) -> None:
        """All of a piece, in as many attempts as bring something."""
        limits, began, idle = self._line.limits, time.monotonic(), 0
        while not piece.whole:
            before = piece.reached
            try:
                await self._attempt(piece)
            except Broken as error:
                idle = 1 if piece.reached > before else idle + 1
                if idle >= limits.attempts:
                    label, path = self._source.hub.label, self._source.file.path
                    raise HubUnreachable(f"{label} broke off {idle} times in a row for {path}: {error}") from error
                await asyncio.sleep(max(error.wait, min(limits.first_wait * 2 ** (idle - 1), LONGEST_PAUSE)))
        self._learn(time.monotonic() - began)

    def _learn(self, took: float) -> None:
        if took < QUICK:
            self._length = min(2 * self._length, LONGEST)
        elif took > SLOW:
            self._length = max(self._length // 2, SHORTEST)

    async def _attempt(self, piece: Piece) -> None:
        hub, transfer, file = self._source.hub, self._source.transfer, self._source.file
        loop = asyncio.get_running_loop()
        address = await loop.run_in_executor(self._line.threads, hub.address, self._source.listing, file)
        end = None if self._alone else piece.end
        try:
            async with transfer.open(address, file, piece.reached, end) as opened:
                if opened.offset != piece.reached:
                    await self._rewind(piece)
                async for chunk in opened.chunks:
                    await self._line.pace.spend(len(chunk))
                    await self._receive(piece, chunk)
        except RangeRefused:
            await self._rewind(piece)
            raise Broken("the hub has no bytes from that offset on") from None
        if not piece.whole:
            raise Broken(f"the connection ended at byte {piece.reached} of {file.size}")

    async def _receive(self, piece: Piece, chunk: bytes) -> None:
        piece.data += chunk
        piece.reached += len(chunk)
        self._here += len(chunk)
        self._progress(self._here)
        if len(piece.data) >= GATHERED and self._is_first(piece):
            await self._settle()

    def _is_first(self, piece: Piece) -> bool:
        return bool(self._pieces) and self._pieces[0] is piece

    async def _rewind(self, piece: Piece) -> None:
        """The file can only be had from its first byte on."""
        if not self._alone:
            raise NoRanges
        async with self._disk:
            self._partial.restart()
            piece.start = piece.reached = self._here = 0
            piece.data.clear()

    async def _settle(self) -> None:
        """Write what has come and follows what is on disk."""
        async with self._disk:
            while self._pieces:
                first = self._pieces[0]
                data, first.data = first.data, bytearray()
                if first.reached - len(data) != self._partial.received:
                    return  # a write before this has failed
                await self._write(data)
                if first.whole and not first.data:
                    self._pieces.popleft().written.set()
                elif not first.data:
                    return

    async def _write(self, data: bytearray) -> None:
        work = asyncio.get_running_loop().run_in_executor(self._line.threads, self._partial.write, data)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # nobody else may write meanwhile
            raise
        except OSError as error:
            if is_full(error):
                self._partial.give_back()
            raise disk_error(error, self._partial.path) from error


def disk_error(error: OSError, path: Path) -> PullError:
    if is_full(error):
        return NoSpace(f"the disk with {path.parent} is full; free some space and pull again, nothing is lost")
    return PullError(f"{path} cannot be written: {error.strerror}")
