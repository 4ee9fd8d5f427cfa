"""The torch path's logits against transformers': every stage of every family, alone and beside the CPU's experts.

The tolerance is that of the CPU path, in test_numbers and test_families: FACTOR times what float32 costs transformers.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_deepseek
import tiny_encoders
import tiny_export
import tiny_families
import torch
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from stepper import TorchStepper
from tiny_deepseek import Export

from ktd.engine.batch import Batch
from ktd.engine.demand import LOOK_ROWS
from ktd.engine.gpu import step as steps
from ktd.engine.placement import PAGE_TOKENS

FACTOR = 8
TOKENS = [int(t) for t in np.random.default_rng(11).integers(0, 96, 150)]
DEEPSEEK = [*tiny_deepseek.VARIANTS, *tiny_deepseek.RELATIVES]


def assert_close(ours: NDArray[np.float32], exact: NDArray[np.float64], rough: NDArray[np.float64]) -> None:
    tolerance = FACTOR * float(np.abs(rough - exact).max())
    worst = float(np.abs(ours - exact[: len(ours)]).max())
    assert worst <= tolerance, f"off by {worst:.2e}, allowed {tolerance:.2e}"


def in_parts(stepper: TorchStepper) -> NDArray[np.float32]:
    """TOKENS as chunks and single tokens, beside sequences that begin, go on one token at a time, and read on."""
    ours, at = [], 0
    for step, size in enumerate((1, 1, 7, 64, 2, 75)):
        parts = {0: (TOKENS[at : at + size], at), 1: (TOKENS[step : step + 1], step), step + 2: (TOKENS[:5], 0)}
        ours.append(stepper.step(parts)[0])
        at += size
    return np.concatenate(ours)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("variant", DEEPSEEK)
def test_latent_attention(variant: str, hybrid: bool, tmp_path: Path) -> None:
    model = tiny_deepseek.make(variant)
    exact, rough = tiny_deepseek.logits(model, TOKENS, torch.float64), tiny_deepseek.logits(model, TOKENS)
    for how in (Export("split"), Export("kvb", merged=True)):
        path = tiny_deepseek.export(model, tmp_path / f"{how.style}.gguf", how)
        assert_close(in_parts(TorchStepper(path, hybrid=hybrid)), exact, rough)


@pytest.mark.parametrize("name", tiny_families.MODELS)
def test_grouped_query_attention(name: str, tmp_path: Path) -> None:
    tiny = tiny_families.MODELS[name]
    model = tiny_families.make(tiny)
    exact, rough = tiny_families.logits(model, TOKENS, torch.float64), tiny_families.logits(model, TOKENS)
    tiny_export.export(model, tiny, tmp_path / "model.gguf", Type.F32)
    assert_close(in_parts(TorchStepper(tmp_path / "model.gguf", hybrid=True)), exact, rough)
    assert_close(TorchStepper(tmp_path / "model.gguf").read(TOKENS), exact, rough)


def test_single_tokens_of_long_and_short_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one step, and in groups that look back over 128 rows at most, or over one text's."""
    monkeypatch.setattr(steps, "LOOK_ROWS", 128)
    tiny = tiny_families.MODELS["qwen3"]
    model = tiny_families.make(tiny)
    exact, rough = tiny_families.logits(model, TOKENS, torch.float64), tiny_families.logits(model, TOKENS)
    tiny_export.export(model, tiny, tmp_path / "model.gguf", Type.F32)
    stepper = TorchStepper(tmp_path / "model.gguf")
    lengths = [140, 3, 70, 31, 32, 33, 5]
    stepper.step({s: (TOKENS[:length], 0) for s, length in enumerate(lengths)})
    found = stepper.step({s: (TOKENS[length : length + 1], length) for s, length in enumerate(lengths)})
    ours = np.concatenate([found[s] for s in range(len(lengths))])
    assert_close(ours, exact[lengths], rough[lengths])


def test_what_single_tokens_look_back_over_is_bounded() -> None:
    """Of 64 short texts and four long ones no group takes more rows of cache than it may, or than one text has."""
    lengths = np.array([100, 30000] + [100] * 31 + [20000] + [100] * 32 + [5000, 4000], np.int32)
    count, most = len(lengths), -(-int(lengths.max()) // PAGE_TOKENS)
    batch = Batch(
        tokens=np.zeros(count, np.int32),
        positions=lengths - 1,
        sequences=np.arange(count, dtype=np.int32),
        pages=np.zeros((count, most), np.int32),
        rows=np.arange(count, dtype=np.int32),
        kept=np.arange(0, dtype=np.int32),
    )
    groups = steps.step_on(torch.device("cpu"), batch, PAGE_TOKENS).groups
    rows = [group.pages.numel() * PAGE_TOKENS for group in groups]
    assert rows == [64 * 128, 2 * 5024, 20000, 30016]
    assert all(len(group.tokens) == 1 or size <= LOOK_ROWS for group, size in zip(groups, rows, strict=True))
    assert sorted(torch.cat([group.tokens.flatten() for group in groups]).tolist()) == list(range(count))


@pytest.mark.parametrize("name", tiny_encoders.MODELS)
def test_encoders(name: str, tmp_path: Path) -> None:
    """Texts side by side; a token sees all of its own."""
    model = tiny_encoders.make(name, Type.F32)
    stepper = TorchStepper(tiny_encoders.export(model, name, tmp_path / "model.gguf"))
    texts = {0: TOKENS[: tiny_encoders.CONTEXT], 1: TOKENS[:13], 2: TOKENS[40:41]}
    found = stepper.step({s: (tokens, 0) for s, tokens in texts.items()})
    for s, tokens in texts.items():
        exact, rough = (tiny_encoders.states(model, tokens, dtype) for dtype in (torch.float64, torch.float32))
        assert_close(found[s], exact, rough)
