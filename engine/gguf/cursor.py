"""A position in a file's header. Every read is checked against what the file holds.

The header is copied, not mapped: a file cut short while it is read gives an error here and never a SIGBUS.
"""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

MAX_HEADER = 256 << 20
MAX_STRING = 16 << 20
STEP = 1 << 20  # bytes fetched at a time, doubled by `_fetch` as the header turns out longer

U64 = struct.Struct("<Q")


class GGUFError(ValueError):
    """A file that is not what it should be. The message names the file, the place and the figures."""


class Cursor:
    """Reads little-endian values of one open file from its start."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self.position = 0
        self._descriptor = descriptor
        self._buffer = b""

    def fail(self, what: str) -> NoReturn:
        raise GGUFError(f"{self.path}: {what}")

    def unpack(self, form: struct.Struct, what: str) -> int | float:
        """One value of a single-value format."""
        self._require(form.size, what)
        (value,) = form.unpack_from(self._buffer, self.position)
        self.position += form.size
        number: int | float = value
        return number

    def count(self, what: str, limit: int) -> int:
        """A u64 that must not pass `limit`."""
        value = int(self.unpack(U64, what))
        if value > limit:
            self.fail(f"{what} is {value}, over the limit of {limit}")
        return value

    def take(self, length: int, what: str) -> bytes:
        self._require(length, what)
        self.position += length
        return self._buffer[self.position - length : self.position]

    def string(self, what: str, limit: int = MAX_STRING) -> bytes:
        length = self.count(f"length of {what}", limit)
        return self.take(length, what)

    def strings(self, count: int, what: str) -> bytes:
        """The raw bytes of `count` strings with their lengths: walked and checked, not decoded."""
        start = position = self.position
        buffer, unpack = self._buffer, U64.unpack_from
        for index in range(count):
            if position + 8 > len(buffer):
                buffer = self._fetch(position + 8, f"{what}[{index}]")
            (length,) = unpack(buffer, position)
            if length > MAX_STRING:
                self.fail(f"length of {what}[{index}] is {length}, over the limit of {MAX_STRING}")
            position += 8 + length
            if position > len(buffer):
                buffer = self._fetch(position, f"{what}[{index}]")
        self.position = position
        return buffer[start:position]

    def _require(self, length: int, what: str) -> None:
        end = self.position + length
        if end > len(self._buffer):
            self._fetch(end, what)

    def _fetch(self, end: int, what: str) -> bytes:
        """Make the first `end` bytes of the file available."""
        if end > self.size:
            self.fail(f"{what} ends at byte {end}, but the file has {self.size}: it is truncated or damaged")
        if end > MAX_HEADER:
            self.fail(f"{what} ends at byte {end}, past the longest header accepted, {MAX_HEADER}")
        have = len(self._buffer)
        want = min(max(end, 2 * have, STEP), self.size, MAX_HEADER)
        self._buffer += _read(self._descriptor, have, want - have)
        if len(self._buffer) < end:
            self.fail(f"{what} could not be read: the file was cut at byte {len(self._buffer)} meanwhile")
        return self._buffer


def _read(descriptor: int, offset: int, length: int) -> bytes:
    parts = []
    while length and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file; anything else is refused, and without waiting: a pipe would block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise GGUFError(f"{path}: cannot be opened: {reason}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise GGUFError(f"{path}: is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)
