"""The cards that there are."""

import torch

from ktd.engine.cards import AUTO, Card
from ktd.engine.errors import LoadRefused
from ktd.engine.seat import CPU, CUDA

OLDEST = (8, 0)  # compute capability: products multiply bfloat16 as Ampere was the first to


def found(devices: str) -> list[Card]:
    """Those of these names, or all; some may be unfit, but none of those that were named.

    Raises LoadRefused for a name that none has, or one that is unfit.
    """
    names = [f"{CUDA}:{number}" for number in range(torch.cuda.device_count())]
    if devices == AUTO:
        return [_card(number) for number in range(len(names))]
    wanted = dict.fromkeys(f"{CUDA}:0" if name == CUDA else name for name in devices.replace(" ", "").split(","))
    for name in wanted:
        if name not in names:
            there = ", ".join([CPU, *names])
            raise LoadRefused("bad_option", f"there is no device {name!r} that torch can use; there are {there}")
    cards = [_card(number) for number, name in enumerate(names) if name in wanted]
    for card in cards:
        if card.unfit:
            raise LoadRefused("bad_option", f"{card.name} ({card.title}) {card.unfit}")
    return cards


def _card(number: int) -> Card:
    name, title = f"{CUDA}:{number}", torch.cuda.get_device_name(number)
    if (capability := torch.cuda.get_device_capability(number)) < OLDEST:
        has, needed = (".".join(map(str, each)) for each in (capability, OLDEST))
        return Card(name, title, 0, f"is too old: it has compute capability {has}, and {needed} is needed")
    free, _ = torch.cuda.mem_get_info(number)
    return Card(name, title, free)
