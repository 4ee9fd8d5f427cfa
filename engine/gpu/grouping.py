"""Grouping: the choices of many tokens in the order of their experts, cut into tiles of a product's size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 64  # entries of a tile, kTileTokens


@dataclass(frozen=True, slots=True)
class Grouping:
    """Entry i of a grouped product is choice `order[i]` of ids.flatten(); so `rows` is its row of x."""

    order: Tensor  # int64 [entries], experts rising, and of an expert in the order of tokens
    rows: Tensor  # int32 [entries] token
    tiles: Tensor  # int32 [tiles, 3] place in the stack, first entry, entries (0: a tile of nothing)


def grouped(ids: Tensor, experts: int, places: Tensor | None = None) -> Grouping:
    """ids int32 [n, used]. Entries whose place is -1 are in no tile.

    There are as many tiles as there could be, so that their number is known without looking at the ids.
    """
    chosen = ids.flatten().long()
    order = torch.sort(chosen, stable=True).indices
    counts = torch.zeros(experts, dtype=torch.int64, device=ids.device).scatter_add_(0, chosen, torch.ones_like(chosen))
    needed = (counts + TILE - 1) // TILE
    ends, starts = needed.cumsum(0), counts.cumsum(0) - counts
    most = min(experts, len(chosen)) + len(chosen) // TILE
    tile = torch.arange(most, device=ids.device)
    expert = torch.searchsorted(ends, tile, right=True).clamp_max(experts - 1)
    before = TILE * (tile - (ends - needed)[expert])  # entries of the expert in tiles before this one
    place = expert if places is None else places.long()[expert]
    count = torch.where(place < 0, 0, (counts[expert] - before).clamp(0, TILE))
    tiles = torch.stack((place, starts[expert] + before, count), dim=1)
    return Grouping(order, (order // ids.shape[1]).int(), tiles.int())
