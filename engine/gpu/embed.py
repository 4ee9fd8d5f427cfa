"""The stages that begin a model on a device; see spec.Embed and spec.Combine."""

import torch
from torch import Tensor

from ktd.engine.gpu.device import Device
from ktd.engine.gpu.step import Step
from ktd.engine.spec import Combine, Embed


class Embedding:
    def __init__(self, spec: Embed, device: Device) -> None:
        self._scale = spec.scale
        self._table = device.matrices(spec.table)
        self._positions = None if spec.positions is None else device.matrices(spec.positions)
        self._type = None if spec.types is None else device.matrices(spec.types)

    def run(self, step: Step) -> Tensor:
        """hidden [n, dim]."""
        hidden = self._table.pick(step.tokens) * self._scale
        if self._type is not None:
            hidden = hidden + self._type.pick(step.tokens.new_zeros(1))
        if self._positions is not None:
            hidden = hidden + self._positions.pick(step.positions)
        return hidden


class Combination:
    def __init__(self, spec: Combine, device: Device) -> None:
        self._table = device.matrices(spec.table)
        self._norm = device.norm(spec.norm, spec.eps)
        self._state_norm = device.norm(spec.state_norm, spec.eps)
        self._project = device.matrices(spec.project)

    def run(self, step: Step) -> Tensor:
        """hidden [n, dim]."""
        assert step.given is not None, "these stages go on from states"
        both = self._norm(self._table.pick(step.tokens)), self._state_norm(step.given)
        return self._project.multiply(torch.cat(both, dim=1))
