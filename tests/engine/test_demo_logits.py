"""The trained model's logits against transformers' on the same weights: text hides routing faults, logits do not."""

from pathlib import Path

import demo
import numpy as np
import pytest
import tiny_deepseek
import torch
from numpy.typing import NDArray
from stepper import Stepper
from tokenizers import Tokenizer
from transformers import PreTrainedModel

FACTOR = 8  # see test_numbers.py


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    """Token ids of one question with its answer per skill."""
    tokenizer = Tokenizer.from_file(str(demo.BUNDLE / "tokenizer.json"))
    items = demo.script("gen").eval_set(1, 77)
    return [tokenizer.encode(i["prompt"] + i["completion"], add_special_tokens=False).ids for i in items]


@pytest.fixture(scope="module")
def f16_model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return demo.in_transformers(demo.F16, tmp_path_factory.mktemp("hf"))


def test_f16_logits(f16_model: PreTrainedModel, texts: list[list[int]]) -> None:
    stepper = Stepper(demo.F16, page_tokens=64)
    for tokens in texts:
        exact = tiny_deepseek.logits(f16_model, tokens, torch.float64)
        tolerance = FACTOR * np.abs(tiny_deepseek.logits(f16_model, tokens) - exact).max()
        assert np.abs(stepper.read(tokens) - exact).max() <= tolerance


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_q8_0_logits(texts: list[list[int]], tmp_path: Path) -> None:
    """Weights exact, activations int8 with a scale per 32.

    An activation is off by at most half a step, amax/254 of its block: rms amax/440, about 1/150 of the block's own
    rms (amax is near 3 rms of 32 values). Noise of 1/150 in every product of some 30 in a row gives logits noise of
    about sqrt(30)/150 = 4 % of their spread at most; with a spread of 3 that is 0.11, and a KL of 0.11^2/2 = 6e-3.
    """
    model = demo.in_transformers(demo.Q8_0, tmp_path)
    stepper = Stepper(demo.Q8_0, cache="f16", page_tokens=64)
    divergences = []
    for tokens in texts:
        theirs, ours = log_softmax(tiny_deepseek.logits(model, tokens)), log_softmax(stepper.read(tokens))
        divergences.append((np.exp(theirs) * (theirs - ours)).sum(-1).mean())
    assert np.mean(divergences) < 6e-3
