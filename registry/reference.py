"""Reference: a user's file that a model uses where it lies, with what tells a later change of it."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from ktd.registry.errors import FileChanged, FileGone, ImportCancelled, ImportRefused

CHUNK = 8 << 20

Progress = Callable[[int, int], None]  # bytes done, bytes in all
Advance = Callable[[int], None]  # bytes done since the last call
Cancelled = Callable[[], bool]


class Meter:
    """Adds up the bytes done, for whoever wants to know."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self.advance(0)

    def advance(self, count: int) -> None:
        self._done += count
        if self._progress:
            self._progress(self._done, self._total)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size and time of last change: if they stay, the contents are taken to have stayed."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Reference:
    path: Path
    digest: str  # sha256:<hex>
    stamp: Stamp

    def check(self) -> None:
        """Raise `FileGone` or `FileChanged` when the file is not the one that was registered."""
        try:
            now = Stamp.of(self.path)
        except OSError as error:
            raise FileGone(
                f"{self.path} cannot be read any more ({error.strerror}); put it back, or import the model again"
            ) from error
        if now != self.stamp:
            what = (
                f"it has {now.size} bytes instead of {self.stamp.size}"
                if now.size != self.stamp.size
                else "it was written to"
            )
            raise FileChanged(f"{self.path} has changed since it was imported ({what}); import the model again")


def stamped(path: Path) -> Stamp:
    """The stamp of a file that is to be imported; raises `ImportRefused`."""
    try:
        return Stamp.of(path)
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error


def contents(file: FileIO) -> Iterator[memoryview]:
    """All of a file; each part is good until the next one is asked for."""
    buffer = memoryview(bytearray(CHUNK))
    while count := file.readinto(buffer):
        yield buffer[:count]


def fingerprint(path: Path, advance: Advance, cancelled: Cancelled) -> Reference:
    """Read a whole file for its digest; raises `ImportRefused` if it is changed meanwhile, `ImportCancelled`."""
    sha = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise ImportRefused(f"{path} is not a regular file")
            for data in contents(file):
                if cancelled():
                    raise ImportCancelled(f"the import stopped while {path} was read")
                sha.update(data)
                advance(len(data))
        stamp = Stamp.of(path)
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    if stamp != Stamp(before.st_size, before.st_mtime_ns):
        raise ImportRefused(f"{path} was changed while it was imported; wait until it is complete")
    return Reference(path, f"sha256:{sha.hexdigest()}", stamp)
