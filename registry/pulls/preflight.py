"""Preflight: what can be known before the first byte of 400 GB is fetched: the architecture, the space, the fit."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ktd.engine.gguf import GGUFError, Incomplete, Metadata, Shard, read_beginning
from ktd.registry.errors import HubRefused, NoSpace
from ktd.registry.resolver import gigabytes
from ktd.registry.sources.hub import Address, HubFile
from ktd.registry.sources.transfer import Transfer

FIRST = 2 << 20  # bytes of a header asked for at first; R1's has some 6 MB, its later shards' far less
SPARE = 256 << 20  # bytes that a pull leaves free on the disk
WORKER = 256 << 20  # a worker besides its weights and cache
CONTEXT = 32768  # tokens that a model is loaded for when nobody says otherwise
CACHE_VALUE = 4  # bytes of one value of the KV cache

Memory = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Fit:
    """Bytes of memory that a model takes, and that there are. Estimated from the header and the files' sizes."""

    needed: int
    available: int

    @property
    def fits(self) -> bool:
        return self.needed <= self.available

    def __str__(self) -> str:
        verdict = "fits this machine" if self.fits else "TOO LARGE for this machine"
        return f"{verdict}: about {gigabytes(self.needed)} of memory needed, {gigabytes(self.available)} available"


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


def fit(weights: int, metadata: Metadata | None, available: int) -> Fit:
    """Whether a model of so many bytes runs here; without its metadata the KV cache is left out."""
    try:
        cache = cache_bytes(metadata) if metadata else 0
    except GGUFError:  # an architecture with other keys
        cache = 0
    return Fit(weights + WORKER + cache, available)


def cache_bytes(metadata: Metadata) -> int:
    """The KV cache of one context of the default length."""
    family = metadata.text("general.architecture", "")
    layers = metadata.integer(f"{family}.block_count", 0)
    context = min(metadata.integer(f"{family}.context_length", CONTEXT), CONTEXT)
    latent = metadata.integer(f"{family}.attention.kv_lora_rank", None)
    if latent is not None:
        width = latent + metadata.integer(f"{family}.rope.dimension_count", 0)
    else:
        heads = metadata.integer(f"{family}.attention.head_count", 1) or 1
        key = metadata.integer(f"{family}.attention.key_length", None)
        key = key or metadata.integer(f"{family}.embedding_length", 0) // heads
        width = 2 * key * _kv_heads(metadata, family, heads)
    return layers * context * width * CACHE_VALUE


def _kv_heads(metadata: Metadata, family: str, heads: int) -> int:
    value = metadata.get(f"{family}.attention.head_count_kv")
    return value if isinstance(value, int) and not isinstance(value, bool) else heads


def base_of(header: Shard) -> str | None:
    """The repository that a file itself names as its origin."""
    try:
        url = header.metadata.text("general.base_model.0.repo_url", "")
    except GGUFError:
        return None
    parts = url.rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) >= 5 else None
