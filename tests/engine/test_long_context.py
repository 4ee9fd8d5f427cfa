"""Attention over long contexts: cut into pieces for single tokens, in blocks or expanded for many.

Tolerance: as in test_numbers, FACTOR times what float32 costs transformers itself.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_deepseek
import tiny_export
import tiny_families
import torch
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from stepper import Stepper

FACTOR = 8
TOKENS = [int(t) for t in np.random.default_rng(12).integers(0, 96, 2200)]
SOME = 700  # for families whose reference is slower


def read(stepper: Stepper, count: int, sizes: Sequence[int], sequence: int = 0) -> NDArray[np.float32]:
    """Logits of the first `count` tokens, read in steps of these sizes and then one by one."""
    rows, at = [], 0
    while at < count:
        size = sizes[len(rows)] if len(rows) < len(sizes) else 1
        rows.append(stepper.step({sequence: (TOKENS[at : at + size], at)})[sequence])
        at += size
    return np.concatenate(rows)


class Deepseek:
    def __init__(self, folder: Path) -> None:
        model = tiny_deepseek.make("v3")
        self.path = tiny_deepseek.export(model, folder / "v3.gguf")
        self.exact = tiny_deepseek.logits(model, TOKENS, torch.float64)
        self.tolerance = FACTOR * float(np.abs(tiny_deepseek.logits(model, TOKENS) - self.exact).max())

    def stepper(self, cache: str = "f32", threads: int = 0) -> Stepper:
        return Stepper(self.path, cache=cache, threads=threads, page_tokens=32)


@pytest.fixture(scope="module")
def deepseek(tmp_path_factory: pytest.TempPathFactory) -> Deepseek:
    return Deepseek(tmp_path_factory.mktemp("long"))


def test_thousands_of_tokens_then_one_by_one(deepseek: Deepseek) -> None:
    ours = read(deepseek.stepper(), len(TOKENS), (1700, 465))
    assert float(np.abs(ours - deepseek.exact).max()) <= deepseek.tolerance


def test_short_steps_far_from_the_start(deepseek: Deepseek) -> None:
    """Too few tokens to expand: absorbed, several rounds of them."""
    ours = read(deepseek.stepper(), 1100, (1000, 20, 13, 9, 8, 21, 29))
    assert float(np.abs(ours - deepseek.exact[:1100]).max()) <= deepseek.tolerance


def test_a_token_does_not_depend_on_its_company_nor_on_threads(deepseek: Deepseek) -> None:
    """Bit by bit: alone on one thread, or beside eleven others on all."""
    alone, together = deepseek.stepper(threads=1), deepseek.stepper()
    expected = read(alone, 1003, (1000,))[1000:]
    np.testing.assert_array_equal(read(together, 1000, (1000,)), read(alone, 1000, (1000,), 1))
    for s in range(1, 12):
        together.step({s: (TOKENS[: 5 * s], 0)})
    for i in range(3):
        parts = {s: (TOKENS[i : i + 1], 5 * s + i) for s in range(1, 12)}
        parts[0] = (TOKENS[1000 + i : 1001 + i], 1000 + i)
        np.testing.assert_array_equal(together.step(parts)[0][0], expected[i])


@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "gpt-oss"])
def test_grouped_queries(name: str, tmp_path: Path) -> None:
    """With windows, softcaps and sinks."""
    tiny = tiny_families.MODELS[name]
    model = tiny_families.make(tiny)
    tiny_families.round_weights(model, tiny, Type.F32)
    tiny_export.export(model, tiny, tmp_path / "model.gguf", Type.F32)
    exact = tiny_families.logits(model, TOKENS[:SOME], torch.float64)
    tolerance = FACTOR * float(np.abs(tiny_families.logits(model, TOKENS[:SOME]) - exact).max())
    stepper = Stepper(tmp_path / "model.gguf")
    for sequence, sizes in enumerate([(SOME,), (600, 70)]):
        ours = read(stepper, SOME, sizes, sequence)
        assert float(np.abs(ours - exact).max()) <= tolerance
    one = Stepper(tmp_path / "model.gguf", threads=1)
    np.testing.assert_array_equal(read(one, SOME, (600, 70)), ours)


@pytest.mark.parametrize(("cache", "unit"), [("f16", 2**-11), ("bf16", 2**-8), ("q8_0", 1 / 127)])
def test_rounded_caches(deepseek: Deepseek, cache: str, unit: float) -> None:
    """A cache's rounding is noise of at most half a `unit` on keys and values: logits move by a few such parts of
    their own size, root mean square, through three layers and the experts they choose."""
    count = 300
    ours = read(deepseek.stepper(cache), count, (200, 60))
    exact = deepseek.exact[:count]
    off = np.sqrt(np.mean((ours - exact) ** 2, axis=1) / np.mean(exact**2))
    assert np.median(off) <= 4 * unit
