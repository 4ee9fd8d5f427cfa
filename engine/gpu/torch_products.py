"""TorchProducts: quantised products by plain torch, a tile of weights made floats at a time.

Inputs of quantised weights are rounded as the kernels round them, so that every backend computes the same numbers.
"""

import torch
from torch import Tensor

from ktd.engine.gpu.activations import activate
from ktd.engine.gpu.products import Block
from ktd.engine.gpu.stored import BLOCK, FLOATS, TINY, Stored

TILE = 8 << 20  # weights that are floats at a time


class TorchMatrices:
    def __init__(self, stored: Stored, device: torch.device) -> None:
        self._stored = stored
        self._device = device

    @property
    def rows(self) -> int:
        return self._stored.rows

    def pick(self, rows: Tensor) -> Tensor:
        picked = [torch.from_numpy(self._stored.floats(first=row, count=1)) for row in rows.tolist()]
        return torch.cat(picked).to(self._device)

    def multiply(self, x: Tensor, which: int = 0) -> Tensor:
        inputs, step = self._inputs(x), max(1, TILE // self._stored.k)
        tiles = [inputs @ self._tile(which, first, step).T for first in range(0, self.rows, step)]
        return torch.cat(tiles, dim=1)

    def multiply_each(self, x: Tensor) -> Tensor:
        return torch.stack([self.multiply(part, which) for which, part in enumerate(x)])

    def _tile(self, which: int, first: int, count: int) -> Tensor:
        return torch.from_numpy(self._stored.floats(which, first, count)).to(self._device)

    def _inputs(self, x: Tensor) -> Tensor:
        return x if self._stored.type in FLOATS else rounded(x)


class TorchProducts:
    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def device(self) -> torch.device:
        return self._device

    def matrices(self, stored: Stored) -> TorchMatrices:
        return TorchMatrices(stored, self._device)

    def block(self, block: Block, x: Tensor) -> Tensor:
        return _expert(block, x, 0)

    def experts(self, block: Block, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        return one_by_one(block, x, ids, weights)


def one_by_one(block: Block, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """In order of the experts, each with all its tokens: sums do not depend on what else is in the step."""
    out = torch.zeros_like(x)
    for expert in ids.unique().tolist():
        tokens, places = torch.nonzero(ids == expert, as_tuple=True)
        made = _expert(block, x[tokens], expert)
        out.index_add_(0, tokens, made * weights[tokens, places, None])
    return out


def _expert(block: Block, x: Tensor, which: int) -> Tensor:
    gate = _biased(block.gate.multiply(x, which), block.gate_bias, which)
    up = None if block.up is None else _biased(block.up.multiply(x, which), block.up_bias, which)
    return _biased(block.down.multiply(activate(block.activation, gate, up), which), block.down_bias, which)


def _biased(x: Tensor, bias: Tensor | None, which: int) -> Tensor:
    return x if bias is None else x + bias[which]


def rounded(x: Tensor) -> Tensor:
    """x [.., k] as quantised weights see it: 32 neighbours become integers of up to 127 times a scale."""
    blocks = x.reshape(-1, BLOCK)
    most = blocks.abs().amax(dim=1, keepdim=True).clamp_min(float(TINY))
    return (torch.round(blocks * (127 / most)) * (most / 127)).reshape(x.shape)
