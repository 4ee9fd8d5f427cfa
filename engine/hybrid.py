"""Placement on cards: which of them computes what, and what stays on the CPU. A pure function of sizes.

Order of value per byte of a card: what every token reads whole (attention, shared experts, head), the KV cache, then
routed experts, of which a token reads a few. So cards hold all of the first two, and experts by layers as far as they
fit. Layers go to several cards in order, so that all are filled alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ktd.engine.cards import Card, ExpertsWish
from ktd.engine.demand import Part
from ktd.engine.errors import LoadRefused
from ktd.engine.hybrid_rows import Rows, rows_of
from ktd.engine.messages import Residence
from ktd.engine.placement import (
    HEADROOM,
    LEAST_CONTEXT,
    MOST_CONTEXTS,
    PAGE_TOKENS,
    PLENTY,
    Budget,
    Placement,
    Wish,
    context_for,
    gib,
    pages_for,
)
from ktd.engine.seat import CPU, Seat

RESERVE = 512 << 20  # of each card: for CUDA's own, and for what estimates miss
FRACTIONS = 64  # of its memory, in which a card is filled
Places = dict[Part, str]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be placed, and what there is for it."""

    parts: Sequence[Part]
    trained: int  # tokens
    budget: Budget
    wish: Wish
    cards: Sequence[Card]
    experts: ExpertsWish
    scratch: int  # of each card
    forced: Mapping[Part, str] = field(default_factory=dict)  # by rules

    @property
    def groups(self) -> list[list[Part]]:
        """All but the embedding: attention with all that follows it."""
        groups: list[list[Part]] = []
        for part in self.parts:
            if part.name == "embedding":
                continue
            if part.name == "attention" or not groups:
                groups.append([])
            groups[-1].append(part)
        return groups

    @property
    def free_experts(self) -> list[Part]:
        """Those that no rule has placed, one for each layer."""
        return [part for part in self.parts if part.routed and part not in self.forced]


def place_on_cards(request: Request) -> Placement:
    """Raises LoadRefused (out_of_memory, bad_option), with the figures and what would work."""
    for context, reason in _contexts(request):
        count = _most_layers(request, context)
        if (wanted := _wanted(request)) is not None:
            count = wanted if wanted <= count else -1
        if count >= 0:
            return _placed(request, context, reason, count)
    raise _refusal(request)


def _contexts(request: Request) -> list[tuple[int, str]]:
    """Contexts to try, with their reasons: what was asked for alone, else the default and shorter ones."""
    rooms = [1 << 62, *(LEAST_CONTEXT << shift for shift in (4, 3, 2, 1, 0))]
    found = [context_for(request.trained, request.wish, room) for room in rooms]
    return list(dict(found).items())


def _wanted(request: Request) -> int | None:
    """Layers of experts that were asked for; None: as many as fit."""
    if request.experts.layers is not None:
        return min(request.experts.layers, len(request.free_experts))
    if request.experts.bytes is None:
        return None
    left, count = request.experts.bytes, 0
    for part in request.free_experts:
        if part.bytes > left:
            break
        left, count = left - part.bytes, count + 1
    if not count and request.free_experts:
        least = gib(request.free_experts[0].bytes)
        raise LoadRefused("bad_option", f"{gib(left)} hold no layer of experts: one takes {least}")
    return count


def _most_layers(request: Request, context: int) -> int:
    """Of experts that fit on the cards beside all else; -1 when that does not fit itself."""
    counts = range(len(request.free_experts), -1, -1)
    return next((count for count in counts if _filled(request, context, count, 1.0) is not None), -1)


def _filled(request: Request, context: int, count: int, fraction: float) -> Places | None:
    """Parts on cards, with the experts of `count` layers; None when this fraction of every card is too little."""
    tokens = _tokens(request, context)
    held = {*request.free_experts[:count]}
    places = {part: device for part, device in request.forced.items() if device != CPU}
    left = {card.name: card.free * fraction - RESERVE - request.scratch for card in request.cards}
    for part, device in places.items():
        left[device] -= cost(part, tokens)
    names = [card.name for card in request.cards]
    for group in request.groups:
        own = [part for part in group if part not in request.forced and (part in held or not part.routed)]
        need = sum(cost(part, tokens) for part in own)
        while names and left[names[0]] < need:
            names.pop(0)
        if not names:
            return None
        left[names[0]] -= need
        places |= dict.fromkeys(own, names[0])
    return places if min(left.values()) >= 0 else None


def cost(part: Part, tokens: int) -> int:
    return part.bytes + part.row * tokens


def _tokens(request: Request, context: int) -> int:
    return pages_for(max(context, request.wish.cache or 0)) * PAGE_TOKENS


def _placed(request: Request, context: int, reason: str, count: int) -> Placement:
    fractions = (step / FRACTIONS for step in range(1, FRACTIONS + 1))
    found = (_filled(request, context, count, fraction) for fraction in fractions)
    places = next(places for places in found if places is not None)
    tokens = _tokens(request, context)
    _place_embedding(request, places, tokens)
    tokens *= _several(request, places, tokens)
    residence = _residence(request, places)
    rows = rows_of(Rows(request.parts, places, request.forced, tokens, reason, residence, request.scratch))
    return Placement(rows, context, tokens // PAGE_TOKENS, residence, _seats(request.parts, places))


def _place_embedding(request: Request, places: Places, tokens: int) -> None:
    """On a card if nothing else has to stay behind and it fits: a token reads one row of it."""
    embedding = next(part for part in request.parts if part.name == "embedding")
    if embedding in request.forced or len(places) < len(request.parts) - 1:
        return
    device = places[request.groups[0][0]]
    shared = any(embedding.tensors <= part.tensors for part, name in places.items() if name == device)
    if shared or _left(request, places, tokens)[device] >= embedding.bytes:
        places[embedding] = device


def _left(request: Request, places: Places, tokens: int) -> dict[str, int]:
    left = {card.name: card.free - RESERVE - request.scratch for card in request.cards}
    for part, device in places.items():
        left[device] -= cost(part, tokens)
    return left


def _several(request: Request, places: Places, tokens: int) -> int:
    """How many whole contexts the cache holds, where it leaves plenty: other requests, earlier prompts."""
    if request.wish.cache:
        return 1
    left = _left(request, places, 0)
    takes = {name: sum(part.row * tokens for part, device in places.items() if device == name) for name in left}
    return max(1, min([MOST_CONTEXTS, *(left[name] // (PLENTY * bytes) for name, bytes in takes.items() if bytes)]))


def _residence(request: Request, places: Places) -> Residence:
    """Of what stays on the CPU: experts that memory cannot hold are read from disk as they are chosen."""
    behind = sum(part.bytes for part in request.parts if part not in places)
    room = request.budget.free - HEADROOM - request.budget.scratch
    if behind <= room:
        return request.budget.residence
    experts = sum(part.bytes for part in request.parts if part.routed and part not in places)
    if request.wish.whole or behind - experts > room:
        problem = f"what stays off the GPUs needs more system memory ({gib(behind)}) than is available ({gib(room)})"
        raise LoadRefused("out_of_memory", problem, behind - room)
    return "streamed"


def _seats(parts: Sequence[Part], places: Places) -> tuple[Seat, ...]:
    seats: dict[int, Seat] = {}
    for part in parts:
        device = places.get(part, CPU)
        seats[part.stage] = Seat(seats[part.stage].device, device) if part.routed else Seat(device)
    return tuple(seats.values())


def _refusal(request: Request) -> LoadRefused:
    """What the smallest placement needs, and what there is."""
    context, _ = _contexts(request)[-1]
    there = ", ".join(f"{card.name} ({card.title}) has {gib(card.free)}" for card in request.cards)
    most = _most_layers(request, context)
    if most >= 0:
        wanted = _wanted(request)
        problem = f"the experts of {wanted} layers do not fit on the GPUs beside a context of {context} tokens: {there}"
        return LoadRefused("out_of_memory", f"{problem} free; those of {most} layers would")
    tokens = _tokens(request, context)
    fixed = [part for part in request.parts if not part.routed and part.name != "embedding"]
    weights = sum(part.bytes for part in fixed)
    cache = sum(part.row for part in fixed) * tokens
    needed = weights + cache + len(request.cards) * (RESERVE + request.scratch)
    short = needed - sum(card.free for card in request.cards)
    parts = f"{gib(weights)} that every token reads, {gib(cache)} of KV cache for {context} tokens"
    problem = f"model requires more GPU memory ({gib(needed)}: {parts}, the rest to compute with) than is free: {there}"
    return LoadRefused("out_of_memory", f"{problem}; without GPUs (--devices cpu) it needs none", max(short, 0))
