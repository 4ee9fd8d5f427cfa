"""Opening a model on cards; where their memory runs out, a smaller placement is tried, and said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ktd.engine.cards import Card, experts_wish
from ktd.engine.demand import Part, look_bytes, parts_of, scratch_bytes
from ktd.engine.errors import LoadRefused
from ktd.engine.gpu.executor import TorchExecutor
from ktd.engine.hybrid import Request, place_with_draft
from ktd.engine.messages import PlacementRow
from ktd.engine.opening import Opened, Reading
from ktd.engine.placement import Placement, gib
from ktd.engine.rules import forced_by

STEP_TOKENS = 512  # most of one step: their activations take memory that experts want
ATTEMPTS = 4
LESS = 0.85  # of the memory counted on before, after it ran out


def on_cards(reading: Reading, cards: Sequence[Card]) -> Opened:
    """Raises LoadRefused."""
    parts = parts_of(reading.spec, reading.sizes, reading.load.cache_type)
    forced = forced_by(reading.load.rules, parts, [card.name for card in cards])
    for attempt in range(ATTEMPTS):
        some = [replace(card, free=int(card.free * LESS**attempt)) for card in cards]
        placement = place_with_draft(_request(reading, parts, some, forced), len(reading.spec.stages))
        kept = reading if len(placement.seats) > len(reading.spec.stages) else reading.without_draft()
        try:
            return _opened(kept, placement if not attempt else _said(placement, cards, some))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()  # what was brought there has no owner any more
    free = ", ".join(f"{card.name} ({gib(card.free)} free)" for card in cards)
    problem = f"GPU memory ran out {ATTEMPTS} times while loading: {free}"
    raise LoadRefused("out_of_memory", f"{problem}; without GPUs (--devices cpu) it needs none")


def _request(reading: Reading, parts: Sequence[Part], cards: Sequence[Card], forced: Mapping[Part, str]) -> Request:
    spec = reading.spec
    step = reading.step_tokens(reading.load.context or spec.context, STEP_TOKENS)
    return Request(
        parts=parts,
        trained=spec.context,
        budget=reading.budget,
        wish=reading.wish,
        cards=cards,
        experts=experts_wish(reading.load.gpu_experts),
        scratch=scratch_bytes((*spec.stages, *spec.draft), spec.dim, step),
        forced=forced,
        look=look_bytes((*spec.stages, *spec.draft)),
    )


def _opened(reading: Reading, placement: Placement) -> Opened:
    step = reading.step_tokens(placement.context, STEP_TOKENS)
    executor = TorchExecutor(
        reading.machine,
        reading.spec,
        reading.gguf,
        reading.tensors,
        placement.seats,
        placement.residence,
        step,
        reading.progress,
    )
    executor.open_cache(placement.pages, reading.load.cache_type)
    return Opened(reading.spec, executor, placement, step)


def _said(placement: Placement, cards: Sequence[Card], less: Sequence[Card]) -> Placement:
    notes = [
        PlacementRow("memory", card.name, 0, f"{gib(card.free)} ran out while loading: placed for {gib(left.free)}")
        for card, left in zip(cards, less, strict=True)
    ]
    return replace(placement, rows=(*placement.rows, *notes))
