"""Partial: a file on its way. What lies on disk is its own record: a prefix of the file, however the last run ended.

While bytes arrive they are hashed twice: by the sha256 that proves the whole, and by a CRC-32 of each piece, by which
`ktd verify --repair` later finds which part of a damaged file to fetch again.
"""

import array
import fcntl
import hashlib
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PIECE = 16 << 20  # bytes under one checksum
READ = 4 << 20
SPARE = 1 << 20  # bytes

Advance = Callable[[int], None]  # bytes here now


class Checksums:
    """CRC-32 of each piece of a stream; the last piece may be short."""

    def __init__(self) -> None:
        self._done = array.array("I")
        self._filled, self._crc = 0, 0

    def add(self, data: memoryview) -> None:
        while data:
            part = data[: PIECE - self._filled]
            self._crc = zlib.crc32(part, self._crc)
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == PIECE:
                self._done.append(self._crc)
                self._filled, self._crc = 0, 0

    def packed(self) -> bytes:
        """Four bytes, little endian, for each piece."""
        sums = self._done + array.array("I", [self._crc] if self._filled else [])
        if sys.byteorder == "big":
            sums.byteswap()
        return sums.tobytes()


class Partial:
    """The file at `path`, of which there will be `size` bytes. One process may write it."""

    def __init__(self, path: Path, size: int, *, writes: bool = True) -> None:
        self.path = path
        self.size = size
        if writes:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)  # never through a link
            self._file = os.fdopen(descriptor, "r+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            self._file = path.open("rb", buffering=0)
        self._begin()

    def __enter__(self) -> "Partial":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def complete(self) -> bool:
        return self.received == self.size

    @property
    def digest(self) -> str:
        """64 hex digits over what is here."""
        return self._sha.hexdigest()

    @property
    def checksums(self) -> bytes:
        return self._sums.packed()

    def catch_up(self, advance: Advance, stopped: Callable[[], bool]) -> None:
        """Hash what an earlier run left, reading it back from the disk."""
        size = os.fstat(self._file.fileno()).st_size
        if size > self.size:
            self.restart()
            return
        self._begin()
        buffer = bytearray(READ)
        while self.received < size and not stopped():
            count = os.preadv(self._file.fileno(), [buffer], self.received)
            if not count:
                break
            self._hash(memoryview(buffer)[:count])
            advance(self.received)

    def write(self, data: bytes | bytearray) -> None:
        """Append. Raises OSError when the disk is full; what was written before stays."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._file.fileno(), view, self.received)
            self._hash(view[:count])
            view = view[count:]

    def give_back(self) -> None:
        """Free the end of the file on a full disk: the database must still be able to note how far it came."""
        os.ftruncate(self._file.fileno(), max(0, self.received - SPARE))

    def restart(self) -> None:
        """Forget all that is here."""
        self._file.truncate(0)
        self._begin()

    def move(self, target: Path) -> None:
        """Take the file's final place, durably."""
        os.fsync(self._file.fileno())
        os.replace(self.path, target)
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _begin(self) -> None:
        self.received = 0
        self._sha = hashlib.sha256()
        self._sums = Checksums()

    def _hash(self, data: memoryview) -> None:
        self._sha.update(data)
        self._sums.add(data)
        self.received += len(data)
