"""Grouped-query attention on a device; see spec.GqaAttention."""

import torch
from torch import Tensor

from ktd.engine.gpu.attend import Look, Sight, look_back
from ktd.engine.gpu.cache import LayerCache
from ktd.engine.gpu.device import Device
from ktd.engine.gpu.norm import Norm
from ktd.engine.gpu.rotary import Rotary
from ktd.engine.gpu.step import Step
from ktd.engine.spec import GqaAttention, Weight


class Projection:
    """x to heads [n, heads, head]: product, bias, and the norm of each head."""

    def __init__(self, device: Device, weight: Weight, bias: Weight | None, head: int, norm: Norm) -> None:
        self._matrix = device.matrices(weight)
        self._bias = device.floats(bias)
        self._head = head
        self._norm = norm

    def __call__(self, x: Tensor) -> Tensor:
        return self._norm(plus(self._matrix.multiply(x), self._bias).unflatten(1, (-1, self._head)))


class Gqa:
    def __init__(self, spec: GqaAttention, device: Device) -> None:
        self._spec = spec
        self._norm = device.norm(spec.norm, spec.eps, spec.norm_bias)
        q_norm, k_norm = device.norm(spec.q_norm, spec.eps), device.norm(spec.k_norm, spec.eps)
        self._q = Projection(device, spec.q, spec.q_bias, spec.head, q_norm)
        self._k = Projection(device, spec.k, spec.k_bias, spec.head, k_norm)
        self._v = Projection(device, spec.v, spec.v_bias, spec.head, Norm(None, None, spec.eps))
        self._output = device.matrices(spec.output)
        self._output_bias = device.floats(spec.output_bias)
        self._post_norm = device.norm(spec.post_norm, spec.eps)
        self._rotary = Rotary(spec.rope, device.place)
        self._sight = Sight(spec.window, spec.causal, spec.softcap, device.floats(spec.sinks))
        self.cache_width = spec.cache_width
        self.cache: LayerCache | None = None

    def run(self, hidden: Tensor, step: Step) -> Tensor:
        """hidden [n, dim]."""
        assert self.cache is not None, "open_cache comes first"
        x = self._norm(hidden)
        keys = self._rotary.turn(self._k(x), step.positions)
        self.cache.store(step.slots, torch.cat((keys, self._v(x)), dim=1).flatten(1))
        q = self._rotary.turn(self._q(x), step.positions) * self._spec.scale
        look = Look(self._spec.heads, self._spec.head, self._sight, lambda tokens: q[tokens], self._load, _flat)
        made = plus(self._output.multiply(look_back(step, look)), self._output_bias)
        return hidden + self._post_norm(made)

    def _load(self, pages: Tensor) -> tuple[Tensor, Tensor]:
        assert self.cache is not None
        keys, values = self.cache.load(pages).unflatten(2, (2, self._spec.kv_heads, -1)).unbind(2)
        return keys, values


def _flat(found: Tensor) -> Tensor:
    return found.flatten(1)


def plus(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias
