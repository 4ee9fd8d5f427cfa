"""Norm: RMS norm; LayerNorm where there is a bias; the row itself where there is no weight."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Norm:
    weight: Tensor | None  # [width]
    bias: Tensor | None  # [width]
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """x [.., width], float32."""
        if self.weight is None:
            return x
        if self.bias is not None:
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight
