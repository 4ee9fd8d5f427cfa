"""Partial: a file on its way, written block by block in any order. However the last run ended, what came is kept.

It is hashed while it comes: always the blocks that follow the last one hashed, read back from the system's memory.
"""

import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from ktd.registry.blobs import synced
from ktd.registry.pulls.blocks import BLOCK, Blocks
from ktd.registry.pulls.hashes import Hashes

SPARE = 1 << 20  # bytes
AT_ONCE = 256  # blocks hashed after a write, so that none takes long

Advance = Callable[[int], None]  # bytes here now
Stopped = Callable[[], bool]


class Partial:
    """The file at `path`, of which there will be `size` bytes. One process may write it, and one thread at a time."""

    def __init__(self, path: Path, notes: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._notes = notes
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)  # never through a link
        with ExitStack() as failed:
            self._file = failed.enter_context(os.fdopen(descriptor, "r+b", buffering=0))
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._blocks = Blocks(notes, size)
            failed.pop_all()
        self._hashes = Hashes()
        self._buffer = bytearray(BLOCK)

    def __enter__(self) -> "Partial":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blocks.close()
        self._file.close()

    @property
    def received(self) -> int:
        """Bytes that are here."""
        return self._blocks.received

    @property
    def missing(self) -> Sequence[tuple[int, int]]:
        """The gaps as (start, end), in order."""
        return list(self._blocks.missing())

    @property
    def digest(self) -> str:
        """64 hex digits over what has been hashed."""
        return self._hashes.digest

    @property
    def checksums(self) -> bytes:
        return self._hashes.checksums

    def beginning(self, most: int) -> bytes:
        """The whole blocks from the first byte on, as far as they are here and as they were noted."""
        data = bytearray()
        while len(data) < most and self._blocks.has(len(data)):
            block = self._read(len(data))
            if not self._blocks.agrees(len(data), block):
                break
            data += block
        return bytes(data)

    def catch_up(self, advance: Advance, stopped: Stopped) -> None:
        """Read what an earlier run left, and forget what is not as it was noted."""
        length = os.fstat(self._file.fileno()).st_size
        if length > self.size:
            self.restart()
        for start in range(0, min(length, self.size), BLOCK):
            if stopped():
                return
            if not self._blocks.has(start):
                continue
            data = self._read(start)
            if not self._blocks.agrees(start, data):
                self._blocks.drop(start, start + BLOCK)
            elif start == self._hashes.count:
                self._hashes.add(data)
            advance(min(start + BLOCK, self.received))
        self._blocks.drop(-(-length // BLOCK) * BLOCK, self.size)

    def write(self, start: int, data: bytes | bytearray) -> None:
        """Whole blocks, of which only the file's last may be short. Raises OSError when the disk is full."""
        view, written = memoryview(data), 0
        try:
            while written < len(view):
                written += os.pwrite(self._file.fileno(), view[written:], start + written)
        finally:
            whole = written if written == len(view) else written // BLOCK * BLOCK
            self._blocks.add(start, view[:whole])
        self._hash(AT_ONCE)

    def finish(self, stopped: Stopped) -> None:
        """Hash what has not been hashed."""
        while self._hash(AT_ONCE) and not stopped():
            pass

    def give_back(self) -> None:
        """Free the end of the file on a full disk: the database must still be able to note how far it came."""
        end = max(0, self._blocks.end - SPARE) // BLOCK * BLOCK
        self._blocks.drop(end, self.size)
        os.ftruncate(self._file.fileno(), end)

    def restart(self) -> None:
        """Forget all that is here."""
        self._blocks.drop(0, self.size)
        self._file.truncate(0)
        self._hashes = Hashes()

    def move(self, target: Path) -> None:
        """Take the file's final place, durably; only then are the notes needed no more."""
        os.fsync(self._file.fileno())
        os.replace(self.path, target)
        synced(target.parent)
        self._notes.unlink(missing_ok=True)

    def _hash(self, most: int) -> bool:
        """Go on over the next blocks that are here; whether there may be more."""
        for _ in range(most):
            if not self._blocks.has(self._hashes.count):
                return False
            self._hashes.add(self._read(self._hashes.count))
        return True

    def _read(self, start: int) -> memoryview:
        """A block, shorter where the file ends."""
        count = os.preadv(self._file.fileno(), [self._buffer], start)
        return memoryview(self._buffer)[: min(count, self.size - start)]
