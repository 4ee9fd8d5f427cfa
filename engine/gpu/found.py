"""The cards that there are."""

import torch

from ktd.engine.cards import AUTO, Card
from ktd.engine.errors import LoadRefused
from ktd.engine.seat import CPU, CUDA


def found(devices: str) -> list[Card]:
    """Those of these names, or all. Raises LoadRefused for a name that none has."""
    count = torch.cuda.device_count()
    cards = [_card(number) for number in range(count)]
    if devices == AUTO:
        return cards
    names = [card.name for card in cards]
    wanted = dict.fromkeys(f"{CUDA}:0" if name == CUDA else name for name in devices.replace(" ", "").split(","))
    for name in wanted:
        if name not in names:
            there = ", ".join([CPU, *names])
            raise LoadRefused("bad_option", f"there is no device {name!r} that torch can use; there are {there}")
    return [card for card in cards if card.name in wanted]


def _card(number: int) -> Card:
    free, _ = torch.cuda.mem_get_info(number)
    return Card(f"{CUDA}:{number}", torch.cuda.get_device_name(number), free)
