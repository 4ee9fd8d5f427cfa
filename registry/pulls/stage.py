"""Stage: where files are while they are on their way, by their digests."""

from pathlib import Path

from ktd.registry.pulls.blocks import BLOCK, noted
from ktd.registry.pulls.partial import Partial


class Stage:
    def __init__(self, home: Path) -> None:
        self._folder = home / "downloads"

    def open(self, digest: str, size: int) -> Partial:
        """`digest` is 64 hex digits. Raises OSError, also when another process writes this file."""
        return Partial(self.path(digest), self._notes(digest), size)

    def received(self, digest: str, size: int) -> int:
        """Bytes that are here. Notes about bytes that are not count for nothing: their file may have been removed."""
        try:
            length = self.path(digest).lstat().st_size
        except OSError:
            return 0
        return noted(self._notes(digest), size, length)

    def beginning(self, digest: str, size: int, most: int) -> bytes:
        """The first bytes of a file, as far as they are here."""
        if not self.received(digest, size):
            return b""
        with self.open(digest, size) as partial:
            return partial.beginning(most)

    def keep(self, digest: str, size: int, beginning: bytes) -> None:
        """Bytes that came before the file itself was asked for."""
        whole = len(beginning) if len(beginning) == size else len(beginning) // BLOCK * BLOCK
        with self.open(digest, size) as partial:
            partial.write(0, beginning[:whole])

    def discard(self, digest: str) -> None:
        for path in (self._notes(digest), self.path(digest)):  # so that no notes are left about nothing
            path.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        return self._folder / f"{digest}.part"

    def _notes(self, digest: str) -> Path:
        return self._folder / f"{digest}.blocks"
