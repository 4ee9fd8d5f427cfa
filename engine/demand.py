"""Demand: the bytes that each part of a model takes of the device that it is on."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ktd.engine.messages import CacheType
from ktd.engine.placement import CACHE_BLOCKS, ROUTED
from ktd.engine.spec import (
    Combine,
    DenseFfn,
    Embed,
    Gated,
    GqaAttention,
    Head,
    LayerNorm,
    MlaAttention,
    ModelSpec,
    MoeFfn,
    Stage,
    weights,
)

FIXED_SCRATCH = 320 << 20  # of what is taken a tile at a time: scores, queries in the latent space, unpacked weights
LOOK_ROWS = 16384  # of the cache that single tokens look back over together
BLOCK = re.compile(r"blk\.(\d+)\.")
NAMES: dict[type, str] = {
    Embed: "embedding",
    Combine: "NextN block",
    LayerNorm: "norms",
    MlaAttention: "attention",
    GqaAttention: "attention",
    DenseFfn: "dense FFN",
    MoeFfn: "shared experts and routers",
    Head: "head",
}


@dataclass(frozen=True, slots=True)
class Part:
    """What goes to one device as a whole: the routed experts of a stage, or all else of it."""

    stage: int  # of the model's, then of its draft's
    name: str
    tensors: frozenset[str]
    bytes: int  # of weights, with those made at load
    row: int = 0  # bytes of KV cache for a token
    layer: int | None = None  # as the file counts
    shared: frozenset[tuple[str, int]] = frozenset()  # tensors that other parts have too, with their bytes

    @property
    def routed(self) -> bool:
        return self.name == ROUTED


def parts_of(spec: ModelSpec, sizes: Mapping[str, int], cache: CacheType) -> list[Part]:
    """In the order of the stages."""
    stages = (*spec.stages, *spec.draft)
    parts = [part for index, stage in enumerate(stages) for part in _parts(index, stage, sizes, cache)]
    counts = Counter(name for part in parts for name in part.tensors)
    shared = (frozenset((name, sizes[name]) for name in part.tensors if counts[name] > 1) for part in parts)
    return [replace(part, shared=some) for part, some in zip(parts, shared, strict=True)]


def fresh_bytes(parts: Iterable[Part], held: set[tuple[str, int]]) -> int:
    """Of the weights that parts bring to a device; what they share is there once, and joins what `held` says is."""
    total = 0
    for part in parts:
        total += part.bytes - sum(size for _, size in part.shared & held)
        held |= part.shared
    return total


def _parts(index: int, stage: Stage, sizes: Mapping[str, int], cache: CacheType) -> Iterator[Part]:
    routed = _names(stage.experts) if isinstance(stage, MoeFfn) else frozenset()
    others = _names(stage) - routed
    layer = _layer(others)
    row = cache_row(stage.cache_width, cache) if isinstance(stage, GqaAttention | MlaAttention) else 0
    yield Part(index, NAMES[type(stage)], others, sum(sizes[name] for name in others) + _turned(stage), row, layer)
    if routed:
        yield Part(index, ROUTED, routed, sum(sizes[name] for name in routed), layer=layer)


def _names(part: object) -> frozenset[str]:
    return frozenset(weight.name for weight in weights(part))


def _layer(tensors: frozenset[str]) -> int | None:
    found = [int(match[1]) for name in tensors if (match := BLOCK.match(name))]
    return min(found, default=None)


def cache_row(width: int, type: CacheType) -> int:
    """Bytes that a device keeps for a token of one stage."""
    values, size = CACHE_BLOCKS[type]
    return -(-width // values) * size


def _turned(stage: Stage) -> int:
    """Of keys that a file keeps only as they multiply latents, and that are made anew as they multiply queries."""
    if not isinstance(stage, MlaAttention) or stage.k_b is not None:
        return 0
    values = stage.heads * stage.nope * stage.kv_lora
    return values // 32 * 34 if stage.nope % 32 == 0 else 2 * values


def scratch_bytes(stages: Sequence[Stage], dim: int, tokens: int) -> int:
    """Of the floats of a step, at most: the stages take turns."""
    return FIXED_SCRATCH + 4 * tokens * (4 * dim + max(_floats(stage) for stage in stages))


def look_bytes(stages: Sequence[Stage]) -> int:
    """For each row of a layer's cache that is looked back over at once: its floats, and what they are copied to."""
    return 8 * max((stage.cache_width for stage in stages if isinstance(stage, GqaAttention | MlaAttention)), default=0)


def _floats(stage: Stage) -> int:
    """Floats of a token that are there at once, beside rows of the hidden state."""
    match stage:
        case MlaAttention():
            return 2 * stage.heads * (stage.nope + stage.rope.dims + stage.value) + 2 * stage.cache_width
        case GqaAttention():
            return 3 * stage.heads * stage.head + 3 * stage.cache_width
        case DenseFfn():
            return 4 * stage.block.width
        case MoeFfn():
            return 2 * stage.router.used * stage.experts.width + 4 * _width(stage.shared)
        case _:
            return 0


def _width(block: Gated | None) -> int:
    return 0 if block is None else block.width
