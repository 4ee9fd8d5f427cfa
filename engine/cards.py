"""Cards: the GPUs that a model may use, and what was asked of them."""

import re
from dataclasses import dataclass

from ktd.engine.errors import LoadRefused

AUTO = "auto"
UNITS = {"GB": 10**9, "G": 10**9, "GIB": 1 << 30}


@dataclass(frozen=True, slots=True)
class Card:
    name: str  # cuda:0, cuda:1, ..
    title: str  # as its maker calls it
    free: int  # bytes of its memory
    unfit: str = ""  # why it cannot be used


@dataclass(frozen=True, slots=True)
class ExpertsWish:
    """How many routed experts go to cards: those of so many layers, or what so many bytes hold; neither: what fits."""

    layers: int | None = None
    bytes: int | None = None


def experts_wish(text: str) -> ExpertsWish:
    """`auto`, a number of layers, or a size as 20GB or 20GiB. Raises LoadRefused."""
    if text.strip().lower() == AUTO:
        return ExpertsWish()
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    number, unit = found.groups() if found else ("", "?")
    if unit.upper() in UNITS:
        return ExpertsWish(bytes=int(float(number) * UNITS[unit.upper()]))
    if unit in ("", "layers") and number.isdigit():
        return ExpertsWish(layers=int(number))
    raise LoadRefused("bad_option", f"experts on GPUs are auto, a number of layers, or a size as 20GB, not {text!r}")
