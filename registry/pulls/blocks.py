"""Blocks: which parts of a file on its way are here, in a file beside it that outlives every process.

Bytes come over several connections, so what is here has gaps. A block is noted once its bytes are written, with their
CRC-32: what a power cut kept of the notes but not of the bytes is found out, and only that is fetched again.
"""

import os
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BLOCK = 128 << 10  # bytes: what a connection may bring in vain when the process is killed
WIDTH = 4  # bytes of a note
NOWHERE = 0  # the note of a block that is not here


def noted(path: Path, size: int, length: int) -> int:
    """Bytes of a file of `size` that are here by the notes at `path`, of the `length` bytes that there are at all."""
    with suppress(OSError):
        whole = _count(size) if length >= size else length // BLOCK
        notes = _notes(path.read_bytes()[: WIDTH * whole], size)
        return _bytes(len(notes) - notes.count(NOWHERE), notes, size)
    return 0


class Blocks:
    """The notes at `path` about a file of `size` bytes."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._notes = _notes(os.pread(self._file, WIDTH * _count(size), 0), size)
        self._here = len(self._notes) - self._notes.count(NOWHERE)

    def close(self) -> None:
        os.close(self._file)

    @property
    def received(self) -> int:
        """Bytes that are here."""
        return _bytes(self._here, self._notes, self.size)

    @property
    def end(self) -> int:
        """Where the last block that is here ends."""
        last = next((block for block in reversed(range(len(self._notes))) if self._notes[block]), -1)
        return min((last + 1) * BLOCK, self.size)

    def has(self, start: int) -> bool:
        """Whether the block that begins at this byte is here."""
        return start < self.size and self._notes[start // BLOCK] != NOWHERE

    def agrees(self, start: int, data: memoryview) -> bool:
        """Whether these are the bytes that were noted."""
        return self._notes[start // BLOCK] == _note(data)

    def missing(self) -> Iterator[tuple[int, int]]:
        """The gaps as (start, end), in order."""
        block, count = 0, len(self._notes)
        while block < count:
            first = block
            while block < count and self._notes[block] == NOWHERE:
                block += 1
            if block > first:
                yield first * BLOCK, min(block * BLOCK, self.size)
            block += 1

    def add(self, start: int, data: memoryview) -> None:
        """Note whole blocks (the last of the file may be short) whose bytes are written."""
        self._write(start // BLOCK, [_note(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)])

    def drop(self, start: int, end: int) -> None:
        """Forget the blocks between two bytes."""
        self._write(start // BLOCK, [NOWHERE] * (-(-end // BLOCK) - start // BLOCK))

    def _write(self, first: int, notes: list[int]) -> None:
        old, new = self._notes[first : first + len(notes)], array("I", notes)
        self._here += old.count(NOWHERE) - new.count(NOWHERE)
        self._notes[first : first + len(notes)] = new
        os.pwrite(self._file, new.tobytes(), WIDTH * first)


def _count(size: int) -> int:
    return -(-size // BLOCK)


def _notes(found: bytes, size: int) -> "array[int]":
    length = WIDTH * _count(size)
    return array("I", found[:length].ljust(length, b"\0"))


def _note(data: memoryview) -> int:
    return zlib.crc32(data) or 1  # never NOWHERE


def _bytes(blocks: int, notes: "array[int]", size: int) -> int:
    short = len(notes) * BLOCK - size if notes and notes[-1] else 0  # of the last block
    return blocks * BLOCK - short
