"""The header of a file of which only the beginning is here, as while it is still at a hub."""

from pathlib import Path

from ktd.engine.gguf.cursor import MAX_HEADER, Cursor, GGUFError
from ktd.engine.gguf.shard import Shard, parse


class Incomplete(GGUFError):
    """The header goes on past the bytes given; `needed` of them are known to belong to it."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class BeginningCursor(Cursor):
    """Reads from bytes instead of a file; `size` is that of the whole file."""

    def __init__(self, path: Path, data: bytes, size: int) -> None:
        self.path = path
        self.size = size
        self.position = 0
        self._buffer = data

    def _fetch(self, end: int, what: str) -> bytes:
        if end > self.size:
            self.fail(f"{what} ends at byte {end}, but the file has {self.size}: it is truncated or damaged")
        if end > MAX_HEADER:
            self.fail(f"{what} ends at byte {end}, past the longest header accepted, {MAX_HEADER}")
        raise Incomplete(f"{self.path}: {what} lies past the first {len(self._buffer)} bytes", end)


def read_beginning(name: str, data: bytes, size: int) -> Shard:
    """Parse a header out of a file's first bytes. Raises `Incomplete` when it needs more, else `GGUFError`."""
    return parse(BeginningCursor(Path(name), data, size))
