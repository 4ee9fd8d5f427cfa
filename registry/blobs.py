"""Blobs: the store's own files, `blobs/sha256-<hex>`, written aside, proved, then renamed into place."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktd.registry.errors import InvalidDigest

DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


def digest_hex(digest: str) -> str:
    """The 64 hex digits of `sha256:<hex>`; raises `InvalidDigest` for anything else."""
    match = DIGEST.fullmatch(digest)
    if match is None:
        raise InvalidDigest(f"invalid digest {digest!r:.100}: it must be sha256: and 64 lower-case hex digits")
    return match[1]


class Blobs:
    """Files by digest below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root / "blobs"
        self.staging = root / "staging"
        self.bundles = root / "bundles"  # configuration that was pulled, a folder for each
        for folder in (self._root, self.staging, self.bundles):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob lies or would lie: the only way from a digest to a path, never out of the root."""
        return self._root / f"sha256-{digest_hex(digest)}"

    def take(self, path: Path, digest: str) -> None:
        """Make a proved file of this disk the blob of its digest, durably."""
        with _opened(path) as descriptor:
            os.fsync(descriptor)
        os.replace(path, self.path(digest))
        synced(self._root)

    @contextmanager
    def staged_file(self) -> Iterator[Path]:
        """A new file in staging, removed at the end of the block unless it was given another place."""
        descriptor, name = tempfile.mkstemp(dir=self.staging)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # says to `sweep` that a live process writes it
            yield Path(name)
        finally:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def staged_folder(self) -> Iterator[Path]:
        """A folder in staging, removed at the end of the block unless it was given another place."""
        folder = Path(tempfile.mkdtemp(dir=self.staging))
        with _opened(folder) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # says to `sweep` that a live process fills it
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def discard(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def discard_bundle(self, path: Path) -> None:
        """Remove a pulled configuration; a folder of the user's is left alone."""
        if path.parent == self.bundles:
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what processes that died left in staging."""
        for path in self.staging.iterdir():
            with _opened(path) as descriptor:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def synced(folder: Path) -> None:
    """Make a rename in a folder durable."""
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
