"""LayerCache: the pages of one attention stage on a device. A row is whatever the stage stores for a token."""

from typing import Protocol

import torch
from torch import Tensor

from ktd.engine.messages import CacheType

BLOCK = 32  # values that share a scale in q8_0
TINY = 2.0**-100
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class LayerCache(Protocol):
    def store(self, slots: Tensor, rows: Tensor) -> None:
        """Put rows [n, width] into slots [n]: page * page_tokens + place in the page."""

    def load(self, pages: Tensor) -> Tensor:
        """All rows of pages [s, p], as floats [s, p * page_tokens, width]; zeros where none was ever stored."""


class FloatRows:
    def __init__(self, slots: int, page_tokens: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self._page_tokens = page_tokens
        self._rows = torch.zeros(slots, width, dtype=dtype, device=device)

    def store(self, slots: Tensor, rows: Tensor) -> None:
        self._rows[slots] = rows.to(self._rows.dtype)

    def load(self, pages: Tensor) -> Tensor:
        paged = self._rows.view(-1, self._page_tokens, self._rows.shape[1])
        return paged[pages].flatten(1, 2).float()


class ByteRows:
    """Integers of a byte with a half as scale for every 32: q8_0."""

    def __init__(self, slots: int, page_tokens: int, width: int, device: torch.device) -> None:
        padded = -(-width // BLOCK) * BLOCK
        self._width = width
        self._integers = FloatRows(slots, page_tokens, padded, torch.int8, device)
        self._scales = FloatRows(slots, page_tokens, padded // BLOCK, torch.float16, device)

    def store(self, slots: Tensor, rows: Tensor) -> None:
        blocks = torch.nn.functional.pad(rows, (0, -rows.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
        scales = blocks.abs().amax(dim=2) / 127
        integers = torch.round(blocks / scales.clamp_min(TINY)[..., None])
        self._integers.store(slots, integers.flatten(1))
        self._scales.store(slots, scales)

    def load(self, pages: Tensor) -> Tensor:
        blocks: Tensor = self._integers.load(pages).unflatten(2, (-1, BLOCK))
        return (blocks * self._scales.load(pages)[..., None]).flatten(2)[..., : self._width]


def layer_cache(type: CacheType, pages: int, page_tokens: int, width: int, device: torch.device) -> LayerCache:
    slots = pages * page_tokens
    if type == "q8_0":
        return ByteRows(slots, page_tokens, width, device)
    return FloatRows(slots, page_tokens, width, DTYPES[type], device)
