"""Preflight: what can be known before the first byte of 400 GB is fetched: the header, the space, the origin."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from ktd.engine.gguf import GGUFError, Incomplete, Shard, read_beginning
from ktd.registry.errors import HubRefused, NoSpace
from ktd.registry.sizes import gigabytes
from ktd.registry.sources.hub import HubFile

FIRST = 2 << 20  # bytes of a header asked for at first; R1's has some 6 MB, its later shards' far less
SPARE = 256 << 20  # bytes that a pull leaves free on the disk


class Beginning:
    """The first bytes of a file at a hub, as many as its header turns out to need: `data` grows until they are there.

    `read` fetches the bytes [start, end); what it raises leaves what has come, and `header` may be asked for again.
    """

    def __init__(self, file: HubFile, read: Callable[[int, int], Awaitable[bytes]], data: bytes = b"") -> None:
        self.data = data
        self._file = file
        self._read = read

    async def header(self) -> Shard:
        """Raises `HubRefused` when it is no GGUF file."""
        size = len(self.data) or min(FIRST, self._file.size)
        while True:
            if size > len(self.data):
                self.data += await self._read(len(self.data), size)
            try:
                return read_beginning(self._file.name, self.data, self._file.size)
            except Incomplete as error:
                size = min(max(2 * size, error.needed), self._file.size)
            except GGUFError as error:
                raise HubRefused(str(error)) from error


def check_space(folder: Path, missing: int) -> int:
    """Free bytes of the disk. Raises `NoSpace` when `missing` do not fit."""
    free = shutil.disk_usage(folder).free
    if missing and missing + SPARE > free:
        raise NoSpace(
            f"not enough space in {folder}: {gigabytes(missing)} ({missing} bytes) are still to be fetched, "
            f"{gigabytes(free)} ({free} bytes) are free, of which {gigabytes(SPARE)} stay free"
        )
    return free


def base_of(header: Shard) -> str | None:
    """The repository that a file itself names as its origin."""
    try:
        url = header.metadata.text("general.base_model.0.repo_url", "")
    except GGUFError:
        return None
    parts = url.rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) >= 5 else None
