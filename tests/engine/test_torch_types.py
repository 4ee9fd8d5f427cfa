"""The torch and the hybrid path against the CPU's, for weights of every tensor type.

All three round what multiplies quantised weights to 8 bits, 32 values with a scale, so mostly they differ by the last
bits of their sums. Where a value lies in the middle of two integers these tip it, and the paths part by a step; at
worst they are independent roundings of one model, whose difference is sqrt(2) of what rounding costs (test_families).
That cost is measured: it is what the logits move by when torch rounds nothing. Float weights are not rounded; there
the paths differ by the order of their sums: FACTOR times what float32 costs a product of DIM values, sqrt(DIM) halves
of its last bit, in each of the some 20 products that follow each other.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_types
from blocks import TYPES
from numpy.typing import NDArray
from stepper import Stepper, Steps, TorchStepper

from ktd.engine.gpu import torch_products

INDEPENDENT = 2**0.5
FACTOR = 8
PRODUCTS = 20
FLOAT32 = 2.0**-24
TOKENS = [int(t) for t in np.random.default_rng(3).integers(0, tiny_types.VOCAB, 45)]
CASES = [(t.name, "split") for t in TYPES] + [(name, "kvb") for name in ("F32", "F16", "BF16", "Q8_0", "Q4_K", "IQ1_S")]


def logits(stepper: Steps) -> NDArray[np.float32]:
    """Of TOKENS in chunks, the first beside another sequence, the last ones alone."""
    ours, at = [], 0
    for size in (3, 40, 1, 1):
        beside = {1: (TOKENS[:9], 0)} if not at else {}
        ours.append(stepper.step({0: (TOKENS[at : at + size], at)} | beside)[0])
        at += size
    return np.concatenate(ours)


def rms(x: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@pytest.mark.parametrize(("type", "layout"), CASES)
def test_every_type(type: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_types.write(tmp_path / "model.gguf", type, layout)
    cpu = logits(Stepper(path, page_tokens=32))
    torch, hybrid = (logits(TorchStepper(path, hybrid=hybrid)) for hybrid in (False, True))
    monkeypatch.setattr(torch_products, "rounded", lambda x: x)
    cost = INDEPENDENT * rms(torch - logits(TorchStepper(path)))
    floats = FACTOR * PRODUCTS * tiny_types.DIM**0.5 / 2 * FLOAT32 * rms(cpu)
    assert np.isfinite(cpu).all() and rms(cpu) > 0.1
    for ours in (torch, hybrid):
        assert rms(ours - cpu) <= max(cost, floats), f"{rms(ours - cpu):.2e}, allowed {cost:.2e} or {floats:.2e}"
