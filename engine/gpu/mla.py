"""Latent attention on a device; see spec.MlaAttention. Queries go to the space of the cached latents (absorbed)."""

import torch
from torch import Tensor

from ktd.engine.gpu.attend import Look, Sight, look_back
from ktd.engine.gpu.cache import LayerCache
from ktd.engine.gpu.device import Device
from ktd.engine.gpu.products import Matrices
from ktd.engine.gpu.rotary import Rotary
from ktd.engine.gpu.step import Step
from ktd.engine.spec import MlaAttention


class Mla:
    def __init__(self, spec: MlaAttention, device: Device) -> None:
        self._spec = spec
        self._norm = device.norm(spec.norm, spec.eps)
        self._queries = Queries(spec, device)
        self._kv_a = device.matrices(spec.kv_a)
        self._kv_a_norm = device.norm(spec.kv_a_norm, spec.eps)
        self._keys, self._values = _heads(spec, device)
        self._output = device.matrices(spec.output)
        self._rotary = Rotary(spec.rope, device.place)
        self.cache_width = spec.cache_width
        self.cache: LayerCache | None = None

    def run(self, hidden: Tensor, step: Step) -> Tensor:
        """hidden [n, dim]."""
        assert self.cache is not None, "open_cache comes first"
        x = self._norm(hidden)
        self.cache.store(step.slots, self._row(x, step))
        q: Tensor = self._queries(x).unflatten(1, (self._spec.heads, -1))
        look = Look(
            heads=self._spec.heads,
            width=self._spec.cache_width,
            sight=Sight(),
            queries=lambda tokens: self._absorbed(q[tokens], step.positions[tokens]),
            load=self._load,
            finish=self._expanded,
        )
        return hidden + self._output.multiply(look_back(step, look))

    def _row(self, x: Tensor, step: Step) -> Tensor:
        """The new cache rows: the normed latent, then the rotated key."""
        latent, key = self._kv_a.multiply(x).split((self._spec.kv_lora, self._spec.rope.dims), dim=1)
        turned = self._rotary.turn(key[:, None], step.positions)[:, 0]
        return torch.cat((self._kv_a_norm(latent), turned), dim=1)

    def _absorbed(self, q: Tensor, positions: Tensor) -> Tensor:
        """q [m, heads, nope + rope] in the space of the cache rows, [m, heads, cache_width], scaled."""
        spec = self._spec
        nope, rotated = q.split((spec.nope, spec.rope.dims), dim=2)
        latent = self._keys.multiply_each(nope.transpose(0, 1)).transpose(0, 1)
        return torch.cat((latent, self._rotary.turn(rotated, positions)), dim=2) * spec.scale

    def _expanded(self, found: Tensor) -> Tensor:
        """Mixed latents [m, heads, kv_lora] as values [m, heads * value]."""
        return self._values.multiply_each(found.transpose(0, 1)).transpose(0, 1).flatten(1)

    def _load(self, pages: Tensor) -> tuple[Tensor, Tensor]:
        assert self.cache is not None
        rows = self.cache.load(pages)[:, :, None]
        return rows, rows[..., : self._spec.kv_lora]


class Queries:
    """q of x [n, dim], through the low rank where there is one."""

    def __init__(self, spec: MlaAttention, device: Device) -> None:
        last = spec.q if spec.q is not None else spec.q_b
        assert last is not None, "the spec has one of the two"
        self._last = device.matrices(last)
        self._low = None if spec.q_a is None else device.matrices(spec.q_a)
        self._norm = device.norm(spec.q_a_norm, spec.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return self._last.multiply(x if self._low is None else self._norm(self._low.multiply(x)))


def _heads(spec: MlaAttention, device: Device) -> tuple[Matrices, Matrices]:
    """Keys, as they multiply queries, and values of every head."""
    if spec.k_b is not None and spec.v_b is not None:
        return device.matrices(spec.k_b), device.matrices(spec.v_b)
    assert spec.kv_b is not None, "the spec has one of the two"
    both = device.weights.matrices(spec.kv_b)
    keys = both.heads(spec.heads, 0, spec.nope).turned()
    return device.products.matrices(keys), device.products.matrices(both.heads(spec.heads, spec.nope, spec.value))
