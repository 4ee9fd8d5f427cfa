"""Whole tiny models through the GPU's products, on the host's kernels, against the CPU's logits.

A few types: every product of every type is in the other files. Few tokens are rounded as on the CPU, so the paths part
only where a value is in the middle of two integers. Many are multiplied as bf16, weights too; a number is then off by
up to 2^-9 of itself, where the CPU's activations are off by up to 1/254 of the largest of 32. What rounding costs is
measured as in test_torch_types: by how much the logits move when torch rounds nothing. The two paths are at worst
independent roundings of which bf16's costs no more than the CPU's: sqrt(2) of that. It is the typical token that is
held to it: a router whose best groups are near equal may choose others after another rounding, and that token's logits
then move by more (in Q8_0 with kv_b, one of fifteen does: measured by its choices).
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_types
from host_kernels import HostLauncher
from numpy.typing import NDArray
from stepper import Stepper, Steps, TorchStepper

from ktd.engine.gpu import executor, torch_products
from ktd.engine.gpu.cuda_kernels import Kernels
from ktd.engine.gpu.kernel_products import KernelProducts

TOKENS = [int(t) for t in np.random.default_rng(3).integers(0, tiny_types.VOCAB, 15)]
CASES = [("Q8_0", "kvb"), ("Q4_K", "split"), ("IQ1_S", "split"), ("F16", "split")]


def logits(stepper: Steps) -> NDArray[np.float32]:
    """Some tokens, many, and single ones beside another sequence."""
    ours, at = [], 0
    for size in (3, 10, 1, 1):
        beside = {1: (TOKENS[at : at + 1], at // 13)} if size == 1 and at > 12 else {}
        ours.append(stepper.step({0: (TOKENS[at : at + size], at)} | beside)[0])
        at += size
    return np.concatenate(ours)


def typical(x: NDArray[np.float32]) -> float:
    """The median token's root mean square, of x [tokens, vocab]."""
    return float(np.median(np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=1))))


@pytest.mark.parametrize(("type", "layout"), CASES)
def test_logits(host: HostLauncher, type: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_types.write(tmp_path / "model.gguf", type, layout)
    cpu, torch_path = logits(Stepper(path, page_tokens=32)), logits(TorchStepper(path))
    with monkeypatch.context() as patched:
        own = executor.products_on
        patched.setattr(executor, "products_on", lambda name: KernelProducts(Kernels(host), own(name).device))
        kernels = logits(TorchStepper(path))
    monkeypatch.setattr(torch_products, "rounded", lambda x: x)
    cost = 2**0.5 * typical(torch_path - logits(TorchStepper(path)))
    assert np.isfinite(kernels).all()
    assert typical(kernels - cpu) <= max(cost, 1e-4 * typical(cpu)), f"{typical(kernels - cpu):.2e}, allowed {cost:.2e}"
