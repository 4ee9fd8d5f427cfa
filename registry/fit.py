"""Fit: whether a model runs on this machine, estimated from a header and the size of its files."""

from collections.abc import Callable
from dataclasses import dataclass

from ktd.engine.gguf import Array, GGUFError, Metadata
from ktd.registry.sizes import gigabytes

WORKER = 256 << 20  # a worker besides its weights and cache
CONTEXT = 32768  # tokens that a model is loaded for when nobody says otherwise
CACHE_VALUE = 4  # bytes of one value of the KV cache
DENSE_BITS = 6  # of a weight outside the experts: quants of few bits spare these

FITS, STREAMS, TOO_LARGE = "fits", "streams", "too large"


@dataclass(frozen=True, slots=True)
class Machine:
    """Bytes that are free: of memory, and of that on graphics cards."""

    ram: int
    vram: int = 0
    cards: int = 0

    def __str__(self) -> str:
        cards = f"{self.cards} GPU{'s' * (self.cards > 1)}"
        vram = f", {gigabytes(self.vram)} of VRAM on {cards} (used with --devices)" if self.cards else ", no GPU"
        return f"{gigabytes(self.ram)} of RAM available{vram}"


Probe = Callable[[], Machine]  # may block


@dataclass(frozen=True, slots=True)
class Fit:
    """Bytes of memory that a model takes with all its weights, and without its routed experts."""

    needed: int
    least: int
    machine: Machine

    @property
    def verdict(self) -> str:
        if self.needed <= self.machine.ram:
            return FITS
        return STREAMS if self.least <= self.machine.ram else TOO_LARGE

    def __str__(self) -> str:
        figures = f"about {gigabytes(self.needed)} of memory needed, {self.machine}"
        if self.verdict == FITS:
            return f"fits this machine: {figures}"
        if self.verdict == STREAMS:
            return (
                f"LARGER than this machine's memory: {figures}; it will run, slowly: "
                "routed experts are read from the disk whenever they are chosen"
            )
        return f"TOO LARGE for this machine: {figures}"


def fit(weights: int, metadata: Metadata | None, machine: Machine) -> Fit:
    """Whether a model of so many bytes runs here; without its metadata the KV cache is left out."""
    try:
        cache = _cache(metadata) if metadata else 0
        experts = int(weights * _expert_share(metadata, weights)) if metadata else 0
    except GGUFError:  # an architecture with other keys
        cache = experts = 0
    needed = weights + WORKER + cache
    return Fit(needed, needed - experts, machine)


def _cache(metadata: Metadata) -> int:
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


def _expert_share(metadata: Metadata, weights: int) -> float:
    """The part of a file that routed experts are: attention is about four square matrices a layer, a head two."""
    family = metadata.text("general.architecture", "")

    def number(key: str) -> int:
        return metadata.integer(f"{family}.{key}", 0)

    layers, width = number("block_count"), number("embedding_length")
    sparse = max(0, layers - number("leading_dense_block_count"))
    experts = sparse * number("expert_count") * 3 * width * number("expert_feed_forward_length")
    if not experts:
        return 0.0
    tokens = metadata.get("tokenizer.ggml.tokens")
    vocabulary = len(tokens) if isinstance(tokens, Array) else 0
    rest = layers * 4 * width * width + 2 * vocabulary * width
    dense = max(rest * DENSE_BITS / 8, weights * rest / (rest + experts))
    return max(0.0, 1 - dense / weights)
