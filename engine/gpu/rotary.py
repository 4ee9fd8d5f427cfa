"""Rotary: position embedding by turning pairs of values; see spec.Rope."""

import torch
from torch import Tensor

from ktd.engine.spec import Rope


class Rotary:
    def __init__(self, rope: Rope, device: torch.device) -> None:
        self.dims = rope.dims
        self._adjacent = rope.layout == "adjacent"
        self._magnitude = rope.magnitude
        self._frequencies = torch.tensor(rope.frequencies, dtype=torch.float32, device=device)

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [n, heads, width] with its first `dims` values rotated, for positions [n]."""
        if not self.dims:
            return x
        angles = positions[:, None, None].float() * self._frequencies  # [n, 1, pairs]
        cos, sin = self._magnitude * angles.cos(), self._magnitude * angles.sin()
        a, b = self._pairs(x[..., : self.dims])
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1 if self._adjacent else -2)
        return torch.cat((turned.flatten(-2), x[..., self.dims :]), dim=-1)

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self._adjacent:
            return x[..., 0::2], x[..., 1::2]
        half = self.dims // 2
        return x[..., :half], x[..., half:]
