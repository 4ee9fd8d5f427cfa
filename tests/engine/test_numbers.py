"""Our logits against transformers' on the same small random weights.

Tolerance: the reference is run in float32 and in float64. The distance between the two is what float32 costs a
correct implementation that adds in one particular order; ours adds in another, so it may lie a few such distances
from the float64 result: FACTOR of them, on the largest element of the same logits.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_deepseek
import torch
from numpy.typing import NDArray
from stepper import Stepper
from tiny_deepseek import Export

FACTOR = 8
TOKENS = [int(t) for t in np.random.default_rng(11).integers(0, 96, 150)]

Reference = tuple[NDArray[np.float64], float]


class Case:
    """A variant's weights, in transformers and in a file of either style."""

    def __init__(self, variant: str, half: bool, folder: Path) -> None:
        self.half = half
        self.model = tiny_deepseek.make(variant, half=half)
        self.files = {
            style: tiny_deepseek.export(self.model, folder / f"{variant}-{half}-{style}.gguf", Export(style, half))
            for style in ("split", "kvb")
        }

    def reference(self, tokens: list[int]) -> Reference:
        """float64 logits of one sequence, and how far from them ours may be."""
        exact = tiny_deepseek.logits(self.model, tokens, torch.float64)
        return exact, FACTOR * float(np.abs(tiny_deepseek.logits(self.model, tokens) - exact).max())


@pytest.fixture(scope="module", params=[(v, half) for v in tiny_deepseek.VARIANTS for half in (False, True)], ids=str)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    variant, half = request.param
    return Case(variant, half, tmp_path_factory.mktemp("tiny"))


def assert_close(ours: NDArray[np.float32], reference: Reference) -> None:
    exact, tolerance = reference
    assert ours.shape == exact.shape
    worst = float(np.abs(ours - exact).max())
    assert worst <= tolerance, f"off by {worst:.2e}, allowed {tolerance:.2e}"


@pytest.mark.parametrize("style", ["split", "kvb"])
def test_prefill(case: Case, style: str) -> None:
    assert_close(Stepper(case.files[style]).read(TOKENS), case.reference(TOKENS))


def test_decode_one_by_one(case: Case) -> None:
    stepper = Stepper(case.files["split"])
    ours = np.concatenate([stepper.step({0: ([token], i)})[0] for i, token in enumerate(TOKENS[:40])])
    assert_close(ours, case.reference(TOKENS[:40]))


def test_chunked_prefill(case: Case) -> None:
    stepper, ours, at = Stepper(case.files["split"]), [], 0
    for size in (1, 7, 64, 3, 75):
        ours.append(stepper.step({0: (TOKENS[at : at + size], at)})[0])
        at += size
    assert_close(np.concatenate(ours), case.reference(TOKENS[:at]))


def test_batch_of_different_lengths(case: Case) -> None:
    prompts = {0: TOKENS[:70], 1: TOKENS[70:83], 2: TOKENS[90:91]}
    stepper = Stepper(case.files["split"])
    first = stepper.step({s: (tokens, 0) for s, tokens in prompts.items()})
    more = {0: TOKENS[140:141], 1: TOKENS[100:133], 2: TOKENS[5:7]}
    second = stepper.step({s: (more[s], len(prompts[s])) for s in (2, 0, 1)})
    for s, tokens in prompts.items():
        assert_close(np.concatenate([first[s], second[s]]), case.reference(tokens + more[s]))


@pytest.mark.parametrize("relative", tiny_deepseek.RELATIVES)
def test_relatives(relative: str, tmp_path: Path) -> None:
    """In chunks of every length, beside another sequence, from either layout."""
    case = Case(relative, half=False, folder=tmp_path)
    expected = case.reference(TOKENS)
    for file in case.files.values():
        stepper, ours, at = Stepper(file), [], 0
        for size in (1, 1, 7, 64, 2, 75):
            parts = {0: (TOKENS[at : at + size], at), at + 1: (TOKENS[:5], 0)}
            ours.append(stepper.step(parts)[0])
            at += size
        assert_close(np.concatenate(ours), expected)


def test_both_layouts_give_the_same_logits(case: Case) -> None:
    """k_b and v_b cut from kv_b hold the same numbers, so every sum is the same sum."""
    split, kvb = (Stepper(case.files[style]).read(TOKENS) for style in ("split", "kvb"))
    np.testing.assert_array_equal(split, kvb)


def test_merged_experts_give_the_same_logits(case: Case, tmp_path: Path) -> None:
    path = tiny_deepseek.export(case.model, tmp_path / "merged.gguf", Export("split", case.half, merged=True))
    apart, merged = (Stepper(file).read(TOKENS) for file in (case.files["split"], path))
    np.testing.assert_array_equal(apart, merged)


def test_threads_do_not_change_a_bit(case: Case) -> None:
    one, many = (Stepper(case.files["split"], threads=threads).read(TOKENS) for threads in (1, 0))
    np.testing.assert_array_equal(one, many)
