"""Feed-forward stages on a device; see spec.DenseFfn and spec.MoeFfn."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ktd.engine.gpu.device import Device
from ktd.engine.gpu.router import choose
from ktd.engine.gpu.step import Step
from ktd.engine.spec import DenseFfn, Gated, MoeFfn

Routed = Callable[[], Tensor]


class Experts(Protocol):
    """The routed experts of a layer, wherever they are."""

    def start(self, x: Tensor, ids: Tensor, weights: Tensor) -> Routed:
        """Have them computed for x [n, dim], ids and weights [n, used]; calling what it returns waits for [n, dim]."""


class Dense:
    def __init__(self, spec: DenseFfn, device: Device) -> None:
        self._norm = device.norm(spec.norm, spec.eps, spec.norm_bias)
        self._post_norm = device.norm(spec.post_norm, spec.eps)
        self._products = device.products
        self._block = device.block(spec.block)

    def run(self, hidden: Tensor, step: Step) -> Tensor:
        """hidden [n, dim]."""
        return hidden + self._post_norm(self._products.block(self._block, self._norm(hidden)))


class DeviceExperts:
    """On the device of the router, or on another one, as rules may want it."""

    def __init__(self, spec: Gated, device: Device) -> None:
        self._products = device.products
        self._block = device.block(spec)

    def start(self, x: Tensor, ids: Tensor, weights: Tensor) -> Routed:
        there = [tensor.to(self._products.device, non_blocking=True) for tensor in (x, ids, weights)]
        made = self._products.experts(self._block, *there)
        return lambda: made.to(x.device)


class Moe:
    """The shared block is computed while the routed experts are."""

    def __init__(self, spec: MoeFfn, device: Device, experts: Experts) -> None:
        self._router = spec.router
        self._norm = device.norm(spec.norm, spec.eps)
        self._logits = device.matrices(spec.router.logits)
        self._logits_bias = device.floats(spec.router.logits_bias)
        self._choice_bias = device.floats(spec.router.bias)
        self._products = device.products
        self._shared = None if spec.shared is None else device.block(spec.shared)
        self._shared_gate = device.floats(spec.shared_gate)
        self._experts = experts

    def run(self, hidden: Tensor, step: Step) -> Tensor:
        """hidden [n, dim]."""
        x = self._norm(hidden)
        logits = self._logits.multiply(x)
        if self._logits_bias is not None:
            logits = logits + self._logits_bias
        routed = self._experts.start(x, *choose(self._router, logits, self._choice_bias))
        return hidden + self._shared_part(x) + routed()

    def _shared_part(self, x: Tensor) -> Tensor:
        if self._shared is None:
            return torch.zeros_like(x)
        made = self._products.block(self._shared, x)
        return made if self._shared_gate is None else made * torch.sigmoid(x @ self._shared_gate)[:, None]
