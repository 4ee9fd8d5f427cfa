"""Device: what the stages on one device are built with."""

import torch
from torch import Tensor

from ktd.engine.gpu.norm import Norm
from ktd.engine.gpu.products import Block, Matrices, Products
from ktd.engine.gpu.stored import StoredWeights
from ktd.engine.spec import Gated, Stack, Weight


class Device:
    """Brings the weights of an open file to a device, each once."""

    def __init__(self, products: Products, weights: StoredWeights) -> None:
        self.products = products
        self.weights = weights
        self._matrices: dict[Weight | Stack, Matrices] = {}

    @property
    def place(self) -> torch.device:
        return self.products.device

    def matrices(self, weight: Weight | Stack) -> Matrices:
        """One that two stages share, as a tied head does with the embedding, is there once."""
        if weight not in self._matrices:
            self._matrices[weight] = self.products.matrices(self.weights.matrices(weight))
        return self._matrices[weight]

    def floats(self, weight: Weight | None) -> Tensor | None:
        return None if weight is None else self.vector(weight)

    def vector(self, weight: Weight) -> Tensor:
        return torch.from_numpy(self.weights.floats(weight)).to(self.place)

    def norm(self, weight: Weight | None, eps: float, bias: Weight | None = None) -> Norm:
        return Norm(self.floats(weight), self.floats(bias), eps)

    def block(self, gated: Gated) -> Block:
        return Block(
            gate=self.matrices(gated.gate),
            up=None if gated.up is None else self.matrices(gated.up),
            down=self.matrices(gated.down),
            activation=gated.activation,
            gate_bias=self._bias(gated.gate_bias),
            up_bias=self._bias(gated.up_bias),
            down_bias=self._bias(gated.down_bias),
        )

    def _bias(self, weight: Weight | None) -> Tensor | None:
        return None if weight is None else torch.atleast_2d(self.vector(weight))
