"""Relay: what is missing of one file, fetched in pieces over several connections.

Each piece is written at its place, block by block as it comes. A piece is as long as a connection brings in a few
seconds, so that no connection has much left to do when the others are done.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from ktd.registry.disk import fetching, is_full
from ktd.registry.errors import HubUnreachable
from ktd.registry.pulls.blocks import BLOCK
from ktd.registry.pulls.limits import Limits, Pace, Slots
from ktd.registry.pulls.partial import Partial
from ktd.registry.sources.hub import Hub, HubFile, Listing
from ktd.registry.sources.transfer import Broken, RangeRefused, Transfer

ALONE = 8 << 20  # a rest up to this is fetched over one connection
SHORTEST, LONGEST = 1 << 20, 8 << 20  # bytes of a piece, whole blocks
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
        self.relays = 0  # that run

    @property
    def share(self) -> int:
        """Pieces that each relay may have under way, so that all files grow alike."""
        return -(-self.limits.connections // max(1, self.relays))


class NoRanges(Exception):
    """The hub does not have, or does not give, the bytes from the middle of the file on."""


@dataclass(slots=True)
class Piece:
    """Bytes of the file up to `end`: those before `reached` have come, and the last of them wait in `data`."""

    reached: int
    end: int
    data: bytearray = field(default_factory=bytearray)

    @property
    def whole(self) -> bool:
        return self.reached == self.end

    def take(self) -> tuple[int, bytearray]:
        """Where the whole blocks begin that have come, and they; the rest waits for more."""
        start = self.reached - len(self.data)
        blocks = len(self.data) if self.whole else len(self.data) // BLOCK * BLOCK
        taken, self.data = self.data[:blocks], self.data[blocks:]
        return start, taken


class Relay:
    def __init__(self, line: Line, source: Source, partial: Partial, progress: Progress) -> None:
        self._line = line
        self._source = source
        self._partial = partial
        self._progress = progress
        self._alone = line.limits.connections == 1 or partial.size - partial.received <= ALONE
        self._length = SHORTEST
        self._disk = asyncio.Lock()
        self._failed = False  # the disk takes nothing more
        self._begin()

    async def run(self) -> None:
        """Complete the file. Whatever stops it, the blocks that have come are kept. Raises `PullError`."""
        self._line.relays += 1
        try:
            for _ in range(self._line.limits.attempts):
                try:
                    return await self._bring_all()
                except NoRanges:
                    self._alone = True
                    self._partial.restart()
                    self._begin()
        finally:
            self._line.relays -= 1
        label, path = self._source.hub.label, self._source.file.path
        raise HubUnreachable(f"{label} sends {path} only from its first byte on, and broke off every time")

    def _begin(self) -> None:
        self._here = self._partial.received  # bytes that have come
        self._gaps = deque(self._partial.missing)  # that nobody brings yet
        self._running = 0  # pieces

    async def _bring_all(self) -> None:
        """The first failure stops the others."""
        try:
            async with asyncio.TaskGroup() as group:
                self._staff(group)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    def _staff(self, group: asyncio.TaskGroup) -> None:
        """Have as many pieces brought as may be; each that is done looks for more."""
        while self._gaps and self._running < (1 if self._alone else self._line.share):
            self._running += 1
            group.create_task(self._bring(group, self._next_piece()))

    def _next_piece(self) -> Piece:
        start, end = self._gaps.popleft()
        cut = end if self._alone else min(start + self._length, end)
        if cut < end:
            self._gaps.appendleft((cut, end))
        return Piece(start, cut)

    async def _bring(self, group: asyncio.TaskGroup, piece: Piece) -> None:
        async with self._line.connections:
            await self._fetch(piece)
        self._running -= 1
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
        end = None if self._alone and piece.end == file.size else piece.end
        try:
            async with transfer.open(address, file, piece.reached, end) as opened:
                if opened.offset != piece.reached:
                    raise NoRanges
                async for chunk in opened.chunks:
                    await self._receive(piece, chunk)
                    await self._line.pace.spend(len(chunk))
        except RangeRefused:
            raise NoRanges from None
        if not piece.whole:
            raise Broken(f"the connection ended at byte {piece.reached} of {file.size}")

    async def _receive(self, piece: Piece, chunk: bytes) -> None:
        piece.data += chunk
        piece.reached += len(chunk)
        self._here += len(chunk)
        self._progress(self._here)
        start, blocks = piece.take()
        if not blocks:
            return
        work = asyncio.ensure_future(self._write(start, blocks))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # what has come is kept
            raise

    async def _write(self, start: int, blocks: bytearray) -> None:
        async with self._disk:
            if self._failed:
                return
            loop = asyncio.get_running_loop()
            with fetching(self._partial.path):
                try:
                    await loop.run_in_executor(self._line.threads, self._partial.write, start, blocks)
                except OSError as error:
                    self._failed = True
                    if is_full(error):
                        self._partial.give_back()
                    raise
