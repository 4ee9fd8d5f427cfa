"""Whole models through the GPU's kernels, run on the CPU, against the CPU path: decoding and prompts, every layout.

The cost of rounding is measured as in tests/engine/test_torch_types. At worst three of its size are independent: that
of the CPU's inputs; that of the GPU's, which for prompts is bfloat16's and smaller (2^-9 of each value, against 1/254
of the largest of 32); and that of keys turned round, to 8 bits too, which the CPU's prompts do not go through.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_types
import torch
from numpy.typing import NDArray
from stepper import Stepper, Steps, TorchStepper

from ktd.engine.gpu import executor, torch_products
from ktd.engine.gpu.cuda_kernels import Kernels
from ktd.engine.gpu.cuda_products import CudaProducts

INDEPENDENT = 3**0.5
TOKENS = [int(t) for t in np.random.default_rng(3).integers(0, tiny_types.VOCAB, 45)]
CASES = [("Q4_K", "split"), ("IQ1_S", "kvb"), ("IQ2_XXS", "split"), ("Q8_0", "kvb"), ("MXFP4", "split")]


def logits(stepper: Steps) -> NDArray[np.float32]:
    """Of TOKENS: few, then many beside another sequence, then single ones beside it."""
    ours, at = [], 0
    for step, size in enumerate((3, 40, 1, 1)):
        beside = {1: (TOKENS[step : step + 1], step)}
        ours.append(stepper.step({0: (TOKENS[at : at + size], at)} | beside)[0])
        at += size
    return np.concatenate(ours)


def rms(x: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@pytest.mark.parametrize(("type", "layout"), CASES)
def test_logits_are_the_cpus(
    type: str, layout: str, kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_types.write(tmp_path / "model.gguf", type, layout)
    cpu, plain = logits(Stepper(path, page_tokens=32)), logits(TorchStepper(path))
    with monkeypatch.context() as exact:
        exact.setattr(torch_products, "rounded", lambda x: x)
        cost = INDEPENDENT * rms(plain - logits(TorchStepper(path)))
    products = CudaProducts(kernels, torch.device("cpu"))
    monkeypatch.setattr(executor, "products_on", lambda name: products)
    for hybrid in (False, True):
        off = rms(logits(TorchStepper(path, hybrid=hybrid)) - cpu)
        assert off <= cost, f"{off:.2e}, allowed {cost:.2e}"
