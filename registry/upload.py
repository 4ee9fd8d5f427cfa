"""Upload: bytes that a client sends, written aside and hashed as they come, then a file of the store."""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ktd.registry.blobs import Blobs, digest_hex
from ktd.registry.disk import writing
from ktd.registry.errors import DigestMismatch


class Upload:
    """Write to it, then `finish`. What is not finished leaves nothing behind. Use it as a context manager."""

    def __init__(self, blobs: Blobs, expected: str) -> None:
        """Raises `InvalidDigest`."""
        self._blobs = blobs
        self._expected = digest_hex(expected)
        self._sha = hashlib.sha256()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as failed:
            self._path = failed.enter_context(self._blobs.staged_file())
            self._file = failed.enter_context(self._path.open("wb", buffering=0))
            self._stack = failed.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, data: bytes) -> None:
        """Raises `DiskFailed`."""
        self._sha.update(data)
        view = memoryview(data)
        with writing(self._path):
            while view:
                view = view[self._file.write(view) :]

    def finish(self) -> Path:
        """The blob's path. Raises `DigestMismatch`."""
        got = self._sha.hexdigest()
        if got != self._expected:
            raise DigestMismatch(f'digest mismatch, expected "sha256:{self._expected}", got "sha256:{got}"')
        self._blobs.take(self._path, f"sha256:{got}")
        return self._blobs.path(f"sha256:{got}")
