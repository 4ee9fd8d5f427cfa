"""The table of a placement on cards: what went where, how large it is, and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ktd.engine.demand import Part, fresh_bytes
from ktd.engine.messages import PlacementRow, Residence
from ktd.engine.placement import HELD, ROUTED, gib
from ktd.engine.seat import CPU

WHOLE = "every token reads all of it"
CHOSEN = "a token reads a few of them"


@dataclass(frozen=True, slots=True)
class Rows:
    """A finished placement; parts that have no place on a card are on the CPU."""

    parts: Sequence[Part]
    places: Mapping[Part, str]
    forced: Mapping[Part, str]
    tokens: int  # of the KV cache
    context: str  # why it is as long as it is
    residence: Residence  # of what is on the CPU
    scratch: int  # of each card
    memory: int  # that may hold what is on the CPU

    def on(self, device: str) -> list[Part]:
        return [part for part in self.parts if self.places.get(part, CPU) == device]


def rows_of(rows: Rows) -> tuple[PlacementRow, ...]:
    devices = [*dict.fromkeys(rows.places.values()), CPU]
    return tuple(row for device in devices for row in _of_device(rows, device))


def _of_device(rows: Rows, device: str) -> Iterator[PlacementRow]:
    there = rows.on(device)
    shared: set[tuple[str, int]] = set()
    left = rows.memory - sum(part.bytes for part in there if not part.routed)
    for name, ruled in dict.fromkeys((part.name, part in rows.forced) for part in there):
        some = [part for part in there if (part.name, part in rows.forced) == (name, ruled)]
        title = f"{name}{_layers(some)}" if name == ROUTED else name
        bytes, reason = fresh_bytes(some, shared), _reason(rows, some, device)
        if device == CPU and name == ROUTED and rows.residence == "streamed":
            held = min(bytes, max(0, left))
            left -= held
            reason = f"{reason}; {gib(bytes)} on disk, read as they are chosen: memory holds {held / bytes:.0%}"
            bytes = held
        yield PlacementRow(title, device, bytes, reason)
    if device != CPU:
        yield PlacementRow("scratch", device, rows.scratch, "activations of a step")
        if cache := sum(part.row for part in there) * rows.tokens:
            yield PlacementRow("KV cache", device, cache, rows.context)


def _reason(rows: Rows, parts: Sequence[Part], device: str) -> str:
    if parts[0] in rows.forced:
        return "by a rule"
    if device == CPU:
        if parts[0].routed:
            return CHOSEN if rows.residence == "streamed" else f"{CHOSEN}; {HELD[rows.residence]}"
        return f"a token reads one row of it; {HELD[rows.residence]}"
    return "as many as fit beside the rest, or were asked for" if parts[0].routed else WHOLE


def _layers(parts: Sequence[Part]) -> str:
    """` of layers 3-20`, where the file counts them."""
    numbers = sorted(part.layer for part in parts if part.layer is not None)
    if not numbers:
        return ""
    whole = numbers[-1] - numbers[0] + 1 == len(numbers)
    if len(numbers) == 1:
        return f" of layer {numbers[0]}"
    return f" of layers {numbers[0]}-{numbers[-1]}" if whole else f" of {len(numbers)} layers"
