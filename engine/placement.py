"""Placement: what of a model goes where, how long its context may be, and why. A pure function of sizes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ktd.engine.errors import LoadRefused
from ktd.engine.messages import CacheType, PlacementRow, Residence
from ktd.engine.seat import CPU, CUDA, Seat
from ktd.engine.spec import Embed, GqaAttention, Head, MlaAttention, ModelSpec, MoeFfn, weights

PAGE_TOKENS = 32
DEFAULT_CONTEXT = 32768
LEAST_CONTEXT = 2048  # what a default may shrink to before the model counts as too large
MOST_CONTEXTS = 4  # whole contexts the cache holds when memory is plentiful: other requests, earlier prompts
PLENTY = 4  # ... which is when it takes less than one part in so many of what the weights leave
HEADROOM = 256 << 20  # for the worker itself, tokenizer and buffers
CACHE_LINE = 64
ROUTED = "routed experts"
HELD: dict[Residence, str] = {
    "mapped": "mapped from the file",
    "read": "read into memory, for its huge pages",
    "streamed": "mapped from the file",
}
# Values of a block, and its bytes.
CACHE_BLOCKS: dict[CacheType, tuple[int, int]] = {"f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 34)}


@dataclass(frozen=True, slots=True)
class Budget:
    """What placement has to share out, in bytes."""

    free: int  # memory that may be taken
    cache_type: CacheType
    derived: int = 0  # weights made while loading
    scratch: int = 0  # of a step
    residence: Residence = "mapped"  # of weights that fit into memory


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for, in tokens; None means: choose."""

    context: int | None = None
    cache: int | None = None  # of all requests together
    whole: bool = False  # refuse rather than choose a shorter context, or leave experts on disk, for want of memory


@dataclass(frozen=True, slots=True)
class Placement:
    rows: tuple[PlacementRow, ...]
    context: int  # tokens
    pages: int  # of PAGE_TOKENS tokens
    residence: Residence  # of the weights
    seats: tuple[Seat, ...] = ()  # of the stages, then of the draft's; none: all is on the CPU

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def gpu_bytes(self) -> int:
        return sum(row.bytes for row in self.rows if row.device.startswith(CUDA))


def place(spec: ModelSpec, sizes: Mapping[str, int], budget: Budget, wish: Wish) -> Placement:
    """Put everything on the CPU. `sizes` are the bytes of each tensor by name.

    Routed experts that memory cannot hold stay on disk. Raises LoadRefused (out_of_memory), naming the bytes needed
    and those there are.
    """
    experts = sum(sizes[name] for name in routed_experts(spec))
    if budget.residence != "streamed":
        try:
            return _place(spec, sizes, budget, wish)
        except LoadRefused:
            if not experts or wish.whole:
                raise
    return _with_experts(_place(spec, sizes, replace(budget, residence="streamed"), wish), experts, budget.free)


def draft_fits(spec: ModelSpec, sizes: Mapping[str, int], budget: Budget, wish: Wish) -> bool:
    """Memory holds the draft of a spec too, and what matters more is none the worse for it."""
    spare = replace(budget, free=budget.free - HEADROOM)  # for its scratch
    try:
        beside = place(spec, sizes, spare, wish)
        alone = place(replace(spec, draft=()), sizes, spare, wish)
    except LoadRefused:
        return False
    return beside.residence == alone.residence != "streamed" and beside.context == alone.context


def routed_experts(spec: ModelSpec) -> frozenset[str]:
    """Names of the weights of which a token needs only a few parts."""
    stages = (stage for stage in spec.stages if isinstance(stage, MoeFfn))
    return frozenset(weight.name for stage in stages for weight in weights(stage.experts))


def staying(spec: ModelSpec, placement: Placement) -> set[str]:
    """Tensors that main memory holds for good: no GPU has them, nor are they experts read as they are chosen."""
    stages = (*spec.stages, *spec.draft)
    seats = placement.seats or (Seat(CPU),) * len(stages)
    staying: set[str] = set()
    for stage, seat in zip(stages, seats, strict=True):
        experts = {weight.name for weight in weights(stage.experts)} if isinstance(stage, MoeFfn) else set()
        if not seat.device.startswith(CUDA):
            staying |= {weight.name for weight in weights(stage)} - experts
        if placement.residence != "streamed" and not (seat.experts or seat.device).startswith(CUDA):
            staying |= experts
    return staying


def _place(spec: ModelSpec, sizes: Mapping[str, int], budget: Budget, wish: Wish) -> Placement:
    fixed = [*_weight_rows(spec, sizes, budget.residence), *_work_rows(budget)]
    taken = sum(row.bytes for row in fixed) + HEADROOM
    per_page = cache_row_bytes(spec, budget.cache_type) * PAGE_TOKENS
    room = max(0, budget.free - taken) // per_page * PAGE_TOKENS
    context, reason = context_for(spec.context, wish, room)
    if (held := max(context, wish.cache or 0)) > room:
        chosen = wish.context is None and wish.cache is None and not wish.whole
        least = taken + pages_for(min(held, LEAST_CONTEXT) if chosen else held) * per_page
        raise _too_large(taken + pages_for(held) * per_page, budget.free, context, least - budget.free)
    several = 1 if wish.cache else _contexts(pages_for(context) * per_page, budget.free - taken)
    pages = pages_for(held) * several
    cache = PlacementRow("KV cache", "cpu", pages * per_page, reason)
    return Placement((*fixed, cache), context, pages, budget.residence)


def _with_experts(rest: Placement, bytes: int, free: int) -> Placement:
    """Experts on disk, and as many of them in memory as the rest leaves room for."""
    held = min(bytes, max(0, free - HEADROOM - rest.bytes))
    why = f"{gib(bytes)} on disk, read as they are chosen: memory holds {held / bytes:.0%}"
    return replace(rest, rows=(PlacementRow(ROUTED, "cpu", held, why), *rest.rows))


def cache_row_bytes(spec: ModelSpec, type: CacheType) -> int:
    """Bytes of KV cache per token; each layer's row is whole blocks and starts on a cache line."""
    values, size = CACHE_BLOCKS[type]
    stages = (*spec.stages, *spec.draft)
    widths = [stage.cache_width for stage in stages if isinstance(stage, GqaAttention | MlaAttention)]
    return sum(_up(_up(width, values) // values * size, CACHE_LINE) for width in widths)


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def context_for(trained: int, wish: Wish, room: int) -> tuple[int, str]:
    """The longest text, and the reason for it; what was asked for is granted or refused, never shortened."""
    wanted = wish.cache if wish.context is None else wish.context
    if wanted is not None:
        if wish.cache is not None and wish.cache <= min(wanted, trained):
            return wish.cache, f"context of {wish.cache} tokens, all of the KV cache that was asked for"
        if wanted > trained:
            return trained, f"context of {trained} tokens, all the model was trained for ({wanted} asked for)"
        return wanted, f"context of {wanted} tokens, as asked for"
    best = min(trained, DEFAULT_CONTEXT)
    if best > room >= LEAST_CONTEXT and not wish.whole:
        return room, f"context of {room} tokens, all that memory allows of {trained}"
    why = "all the model was trained for" if best == trained else f"the default, of {trained} possible"
    return best, f"context of {best} tokens, {why}"


def _contexts(bytes: int, room: int) -> int:
    """How many whole contexts the cache holds."""
    return max(1, min(MOST_CONTEXTS, room // (PLENTY * bytes)))


def pages_for(tokens: int) -> int:
    return -(-tokens // PAGE_TOKENS)


def _weight_rows(spec: ModelSpec, sizes: Mapping[str, int], residence: Residence) -> list[PlacementRow]:
    """Of the weights that memory must hold."""
    counted: set[str] = set()
    totals: dict[str, int] = {}
    for part, owner in _parts(spec):
        if residence == "streamed" and part == ROUTED:
            continue
        names = [weight.name for weight in weights(owner) if weight.name not in counted]
        counted.update(names)
        totals[part] = totals.get(part, 0) + sum(sizes[name] for name in names)
    return [PlacementRow(part, "cpu", bytes, HELD[residence]) for part, bytes in totals.items()]


def _parts(spec: ModelSpec) -> Iterator[tuple[str, object]]:
    for stage in spec.stages:
        match stage:
            case Embed():
                yield "embedding", stage
            case GqaAttention() | MlaAttention():
                yield "attention", stage
            case Head():
                yield "head", stage
            case MoeFfn():
                yield ROUTED, stage.experts
                yield "shared experts", stage.shared
                yield "routers", (stage.norm, stage.router)
            case _:
                yield "dense FFN", stage
    if spec.draft:
        yield "NextN block", spec.draft


def _work_rows(budget: Budget) -> Iterable[PlacementRow]:
    if budget.derived:
        yield PlacementRow("derived weights", "cpu", budget.derived, "keys turned round for attention")
    if budget.scratch:
        yield PlacementRow("scratch", "cpu", budget.scratch, "activations of a step")


def _too_large(needed: int, free: int, context: int, short: int) -> LoadRefused:
    return LoadRefused(
        "out_of_memory",
        f"model requires more system memory ({gib(needed)}) than is available ({gib(free)}), "
        f"with a context of {context} tokens",
        short,
    )


def gib(bytes: int) -> str:
    return f"{bytes / (1 << 30):.1f} GiB"
