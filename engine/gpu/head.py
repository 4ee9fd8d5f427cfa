"""The last stage on a device; see spec.Head. And the norms that stand alone."""

import torch
from torch import Tensor

from ktd.engine.gpu.device import Device
from ktd.engine.gpu.step import Step
from ktd.engine.spec import Head, LayerNorm


class LogitHead:
    def __init__(self, spec: Head, device: Device) -> None:
        self._vocab = spec.vocab
        self._norm = device.norm(spec.norm, spec.eps, spec.norm_bias)
        self._output = None if spec.output is None else device.matrices(spec.output)
        self._softcap = spec.softcap

    def run(self, hidden: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Logits [len(rows), vocab] and states [len(kept), dim] of hidden [n, dim]."""
        return self._logits(self._norm(hidden[step.rows])), self._norm(hidden[step.kept])

    def _logits(self, states: Tensor) -> Tensor:
        if self._output is None or not len(states):
            return states.new_zeros(len(states), self._vocab)
        logits = self._output.multiply(states)
        return self._softcap * torch.tanh(logits / self._softcap) if self._softcap else logits


class PlainNorm:
    def __init__(self, spec: LayerNorm, device: Device) -> None:
        self._norm = device.norm(spec.norm, spec.eps, spec.norm_bias)

    def run(self, hidden: Tensor, step: Step) -> Tensor:
        """hidden [n, dim]."""
        return self._norm(hidden)
