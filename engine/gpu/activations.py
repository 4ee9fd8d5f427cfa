"""What stands between gate, up and down of a feed-forward block; see spec.Gated."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ktd.engine.spec import Activation

SLOPE, LIMIT = 1.702, 7.0  # of gpt-oss
ONE: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": functools.partial(F.gelu, approximate="tanh"),
    "erf_gelu": F.gelu,
}


def activate(activation: Activation, gate: Tensor, up: Tensor | None) -> Tensor:
    """activation(gate) * up; without `up` the activation alone."""
    if activation == "clamped_silu":
        assert up is not None, "gpt-oss has both"
        return _clamped_silu(gate, up)
    made = ONE[activation](gate)
    return made if up is None else made * up


def _clamped_silu(gate: Tensor, up: Tensor) -> Tensor:
    gate, up = gate.clamp(max=LIMIT), up.clamp(-LIMIT, LIMIT)
    return gate * torch.sigmoid(SLOPE * gate) * (up + 1)
