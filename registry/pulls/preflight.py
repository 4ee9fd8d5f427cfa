"""Preflight: what can be known before the first byte of 400 GB is fetched: the header, the space, the origin."""

import shutil
from pathlib import Path

from ktd.engine.gguf import GGUFError, Incomplete, Shard, read_beginning
from ktd.registry.errors import HubRefused, NoSpace
from ktd.registry.resolver import gigabytes
from ktd.registry.sources.hub import Address, HubFile
from ktd.registry.sources.transfer import Transfer

FIRST = 2 << 20  # bytes of a header asked for at first; R1's has some 6 MB, its later shards' far less
SPARE = 256 << 20  # bytes that a pull leaves free on the disk


async def read_header(transfer: Transfer, address: Address, file: HubFile) -> Shard:
    """The header of a file at a hub, by asking for as many of its first bytes as it turns out to need.

    Raises `HubRefused` when it is no GGUF file.
    """
    size = min(FIRST, file.size)
    while True:
        data = await transfer.read(address, file, size)
        try:
            return read_beginning(file.name, data, file.size)
        except Incomplete as error:
            size = min(max(2 * size, error.needed), file.size)
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
