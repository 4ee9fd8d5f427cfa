"""Placement on cards: which of them computes what, and what stays on the CPU. A pure function of sizes.

Order of value per byte of a card: what every token reads whole (attention, shared experts, head), the KV cache, then
routed experts, of which a token reads a few. So cards hold all of the first two, and experts by layers as far as they
fit. Layers go to several cards in order, so that all are filled alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ktd.engine.cards import Card, ExpertsWish
from ktd.engine.demand import LOOK_ROWS, Part, fresh_bytes
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
    look: int = 0  # of each card beside scratch, for a token of the longest text

    def first(self, stages: int) -> "Request":
        """That of the first stages alone."""
        forced = {part: device for part, device in self.forced.items() if part.stage < stages}
        return replace(self, parts=[part for part in self.parts if part.stage < stages], forced=forced)

    def working(self, context: int) -> int:
        """Bytes of each card to compute with, where texts have up to so many tokens."""
        return self.scratch + self.look * max(context, LOOK_ROWS)

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


@dataclass(slots=True)
class Room:
    """What a card has left."""

    left: float  # bytes
    shared: set[tuple[str, int]] = field(default_factory=set)  # tensors there that other parts have too

    def need(self, parts: Sequence[Part], tokens: int) -> int:
        return fresh_bytes(parts, set(self.shared)) + sum(part.row for part in parts) * tokens

    def take(self, parts: Sequence[Part], tokens: int) -> None:
        self.left -= self.need(parts, tokens)
        self.shared.update(*(part.shared for part in parts))


def place_with_draft(request: Request, stages: int) -> Placement:
    """Of the model's stages, and of the draft's behind them if memory holds it too and the model is none the worse.

    Raises LoadRefused, as place_on_cards.
    """
    alone = place_on_cards(request.first(stages))
    if request.parts[-1].stage < stages:
        return alone
    try:
        beside = place_on_cards(request)
    except LoadRefused:
        return alone
    fits = beside.residence == alone.residence != "streamed" and beside.context == alone.context
    return beside if fits and _behind(beside, stages) == _behind(alone, stages) else alone


def _behind(placement: Placement, stages: int) -> list[bool]:
    """Of each of the first stages: are its experts on the CPU?"""
    return [seat.experts == CPU for seat in placement.seats[:stages]]


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
    rooms = _rooms(request, context, places, tokens, fraction)
    names = [card.name for card in request.cards]
    for group in request.groups:
        own = [part for part in group if part not in request.forced and (part in held or not part.routed)]
        while own and names and rooms[names[0]].left < rooms[names[0]].need(own, tokens):
            names.pop(0)
        if own and not names:
            return None
        if own:
            rooms[names[0]].take(own, tokens)
            places |= dict.fromkeys(own, names[0])
    return places if all(rooms[device].left >= 0 for device in set(places.values())) else None


def _rooms(request: Request, context: int, places: Places, tokens: int, fraction: float = 1.0) -> dict[str, Room]:
    """Of the cards beside these parts; one that is nearly full without any has less than none."""
    beside = RESERVE + request.working(context)
    rooms = {card.name: Room(card.free * fraction - beside) for card in request.cards}
    for part, device in places.items():
        rooms[device].take([part], tokens)
    return rooms


def _tokens(request: Request, context: int) -> int:
    return pages_for(max(context, request.wish.cache or 0)) * PAGE_TOKENS


def _placed(request: Request, context: int, reason: str, count: int) -> Placement:
    fractions = (step / FRACTIONS for step in range(1, FRACTIONS + 1))
    found = (_filled(request, context, count, fraction) for fraction in fractions)
    places = next(places for places in found if places is not None)
    tokens = _tokens(request, context)
    _place_embedding(request, places, context, tokens)
    tokens *= _several(request, places, context, tokens)
    residence = _residence(request, places)
    working, memory = request.working(context), _memory(request)
    rows = rows_of(Rows(request.parts, places, request.forced, tokens, reason, residence, working, memory))
    return Placement(rows, context, tokens // PAGE_TOKENS, residence, _seats(request.parts, places))


def _place_embedding(request: Request, places: Places, context: int, tokens: int) -> None:
    """On a card if nothing else has to stay behind and it fits: a token reads one row of it."""
    embedding = next(part for part in request.parts if part.name == "embedding")
    if embedding in request.forced or len(places) < len(request.parts) - 1:
        return
    device = places[request.groups[0][0]]
    room = _rooms(request, context, places, tokens)[device]
    if room.left >= room.need([embedding], tokens):
        places[embedding] = device


def _several(request: Request, places: Places, context: int, tokens: int) -> int:
    """How many whole contexts the cache holds, where it leaves plenty: other requests, earlier prompts."""
    if request.wish.cache:
        return 1
    rooms = _rooms(request, context, places, 0)
    takes = {name: sum(part.row * tokens for part, device in places.items() if device == name) for name in rooms}
    times = [int(rooms[name].left // (PLENTY * bytes)) for name, bytes in takes.items() if bytes]
    return max(1, min([MOST_CONTEXTS, *times]))


def _memory(request: Request) -> int:
    """For what stays on the CPU."""
    return request.budget.free - HEADROOM - request.budget.scratch


def _residence(request: Request, places: Places) -> Residence:
    """Of what stays on the CPU: experts that memory cannot hold are read from disk as they are chosen."""
    behind = sum(part.bytes for part in request.parts if part not in places)
    room = _memory(request)
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
    weights = fresh_bytes(fixed, set())
    cache = sum(part.row for part in fixed) * tokens
    beside = RESERVE + request.working(context)
    some = [card for card in request.cards if card.free > beside] or request.cards
    needed = weights + cache + len(some) * beside
    short = needed - sum(card.free for card in some)
    parts = f"{gib(weights)} that every token reads, {gib(cache)} of KV cache for {context} tokens"
    problem = f"model requires more GPU memory ({gib(needed)}: {parts}, the rest to compute with) than is free: {there}"
    return LoadRefused("out_of_memory", f"{problem}; without GPUs (--devices cpu) it needs none", max(short, 0))
