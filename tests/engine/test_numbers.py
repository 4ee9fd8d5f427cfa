"""Our logits against transformers' on the same small random weights.

Tolerance: the reference is run in float32 and in float64. The distance between the two is what float32 costs a
correct implementation that adds in one particular order; ours adds in another, so it may lie a few such distances
from the float64 result: FACTOR of them, on the largest element of the same logits.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_deepseek
import tiny_families
import torch
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from stepper import Stepper
from tiny_deepseek import Export

FACTOR = 8
INDEPENDENT = 2**0.5
TOKENS = [int(t) for t in np.random.default_rng(11).integers(0, 96, 150)]

Reference = tuple[NDArray[np.float64], float]


class Case:
    """A variant's weights, in transformers and in a file of either style."""

    def __init__(self, variant: str, type: Type, folder: Path) -> None:
        self.type = type
        self.model = tiny_deepseek.round_weights(tiny_deepseek.make(variant), Export("kvb", type))
        self.files = {
            style: tiny_deepseek.export(self.model, folder / f"{variant}-{type.name}-{style}.gguf", Export(style, type))
            for style in ("split", "kvb")
        }

    def reference(self, tokens: list[int]) -> Reference:
        """float64 logits of one sequence, and how far from them ours may be."""
        exact = tiny_deepseek.logits(self.model, tokens, torch.float64)
        return exact, FACTOR * float(np.abs(tiny_deepseek.logits(self.model, tokens) - exact).max())


FLOATS = [(variant, type) for variant in tiny_deepseek.VARIANTS for type in (Type.F32, Type.F16)]


@pytest.fixture(scope="module", params=FLOATS, ids=lambda of: f"{of[0]}-{of[1].name}")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    variant, type = request.param
    return Case(variant, type, tmp_path_factory.mktemp("tiny"))


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
    case = Case(relative, Type.F32, tmp_path)
    expected = case.reference(TOKENS)
    for file in case.files.values():
        stepper, ours, at = Stepper(file), [], 0
        for size in (1, 1, 7, 64, 2, 75):
            parts = {0: (TOKENS[at : at + size], at), at + 1: (TOKENS[:5], 0)}
            ours.append(stepper.step(parts)[0])
            at += size
        assert_close(np.concatenate(ours), expected)


QUANTISED = ["v3-yarn", "v2-lite-yarn", "v2-groups", *tiny_deepseek.RELATIVES]


@pytest.mark.parametrize("style", ["split", "kvb"])
@pytest.mark.parametrize("type", [Type.Q8_0, Type.Q4_0])
@pytest.mark.parametrize("variant", QUANTISED)
def test_quantised(variant: str, type: Type, style: str, tmp_path: Path) -> None:
    """Read in one go, which expands the latents, and token by token, which looks at them as they are.

    The tolerance is that of test_families: the kernels round activations, and so does the reference, in float64. In
    one go, from kv_b, they round the same values, and next to nothing is between them; elsewhere ours rounds others
    (queries in the space of the latents, keys turned round to Q8_0): two independent roundings.
    """
    how = Export(style, type)
    model = tiny_deepseek.round_weights(tiny_deepseek.make(variant), how)
    path = tiny_deepseek.export(model, tmp_path / "model.gguf", how)
    exact, rounded = tiny_deepseek.logits(model, TOKENS, torch.float64), tiny_families.rounded_logits(model, TOKENS)
    one_by_one = Stepper(path)
    ways = {
        "in one go": Stepper(path).read(TOKENS),
        "one by one": np.concatenate([one_by_one.step({0: ([token], at)})[0] for at, token in enumerate(TOKENS)]),
    }
    for way, ours in ways.items():
        ratio = middle(ours - rounded) / middle(rounded - exact)
        assert ratio <= INDEPENDENT, f"{way}: {ratio:.2f} of what rounding costs"


def middle(x: NDArray[np.float64]) -> float:
    """Root mean square of the median token; where a rounding exchanges an expert, one is off as far as many others."""
    return float(np.median(np.sqrt(np.mean(x * x, axis=1))))


def test_both_layouts_give_the_same_logits(case: Case) -> None:
    """k_b and v_b cut from kv_b hold the same numbers, so every sum is the same sum."""
    split, kvb = (Stepper(case.files[style]).read(TOKENS) for style in ("split", "kvb"))
    np.testing.assert_array_equal(split, kvb)


def test_merged_experts_give_the_same_logits(case: Case, tmp_path: Path) -> None:
    path = tiny_deepseek.export(case.model, tmp_path / "merged.gguf", Export("split", case.type, merged=True))
    apart, merged = (Stepper(file).read(TOKENS) for file in (case.files["split"], path))
    np.testing.assert_array_equal(apart, merged)


def test_threads_do_not_change_a_bit(case: Case) -> None:
    one, many = (Stepper(case.files["split"], threads=threads).read(TOKENS) for threads in (1, 0))
    np.testing.assert_array_equal(one, many)
