"""Products: what a device does with quantised weights. The one seam below which torch and CUDA kernels differ."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ktd.engine.gpu.stored import Stored
from ktd.engine.spec import Activation


class Matrices(Protocol):
    """Matrices of one type and shape on the device, still quantised. All values are float32."""

    @property
    def rows(self) -> int: ...

    def pick(self, rows: Tensor) -> Tensor:
        """These rows [n] of the first matrix, as floats [n, k]."""

    def multiply(self, x: Tensor, which: int = 0) -> Tensor:
        """x [n, k] by one of them -> [n, rows]."""

    def multiply_each(self, x: Tensor) -> Tensor:
        """x [count, n, k], each by its own -> [count, n, rows]."""


@dataclass(frozen=True, slots=True)
class Block:
    """down(activation(gate(x)) * up(x)), or one such block for each expert; see spec.Gated."""

    gate: Matrices
    up: Matrices | None
    down: Matrices
    activation: Activation
    gate_bias: Tensor | None  # [experts, width], or [1, width]; so the others
    up_bias: Tensor | None
    down_bias: Tensor | None  # [experts, dim]


class Products(Protocol):
    @property
    def device(self) -> torch.device: ...

    def matrices(self, stored: Stored) -> Matrices:
        """Bring weights to the device, in the layout that its products want."""

    def block(self, block: Block, x: Tensor) -> Tensor:
        """A plain block: x [n, dim] -> [n, dim]."""

    def experts(self, block: Block, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """Sum over the chosen experts of weight * expert(x) [n, dim], for x [n, dim], ids and weights [n, used]."""
