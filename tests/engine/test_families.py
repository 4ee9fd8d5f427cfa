"""Our logits against transformers' for every family with grouped-query attention, on small random weights.

Tolerance in F32 and F16: as in test_numbers, a few times what float32 costs transformers itself (FACTOR).

Tolerance of quantised files: their kernels round activations too, to 8 bits with a scale for every 32. The
reference does the same in float64 (`rounded_logits`). Mostly the two then agree as F32 does, but where a value lies
so close to the middle of two integers that float32 tips it the other way, they part by a step, and all later
roundings with them. At worst the two are independent roundings of the same model: the difference of two errors of
equal size, whose root mean square is sqrt(2) of one. A mistake in a formula moves logits by their own size, ten to a
hundred times as much.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_export
import tiny_families
import torch
from answers import Desk
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from stepper import Stepper
from transformers import PreTrainedModel

from ktd.engine.check import check
from ktd.engine.detokenizer import Detokenizer
from ktd.engine.gguf import Gguf
from ktd.engine.jobs import Jobs
from ktd.engine.loader import open_model
from ktd.engine.messages import Load, Prompt, Sampling
from ktd.engine.models import SUPPORTED, spec_for

FACTOR = 8
INDEPENDENT = 2**0.5
TOKENS = [int(t) for t in np.random.default_rng(11).integers(0, 96, 150)]
F32 = 0


@functools.cache
def model(name: str, type: Type) -> PreTrainedModel:
    """A family's model with weights that a file of this type holds exactly."""
    tiny = tiny_families.MODELS[name]
    made = tiny_families.make(tiny)
    tiny_families.round_weights(made, tiny, type)
    return made


@functools.cache
def expected(name: str, type: Type) -> tuple[NDArray[np.float64], float]:
    """float64 logits of TOKENS, and how far from them ours may be. Of a beginning, they are the first rows."""
    exact = tiny_families.logits(model(name, type), TOKENS, torch.float64)
    return exact, FACTOR * float(np.abs(tiny_families.logits(model(name, type), TOKENS) - exact).max())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def exported(name: str, type: Type, folder: Path) -> Path:
    path = folder / f"{name}-{type.name}.gguf"
    if not path.exists():
        tiny_export.export(model(name, type), tiny_families.MODELS[name], path, type)
    return path


def assert_close(ours: NDArray[np.float32], name: str, type: Type = Type.F32, first: int = 0) -> None:
    exact, tolerance = expected(name, type)
    worst = float(np.abs(ours - exact[first : first + len(ours)]).max())
    assert worst <= tolerance, f"off by {worst:.2e}, allowed {tolerance:.2e}"


NAMES = pytest.mark.parametrize("name", tiny_families.MODELS)


@NAMES
def test_prefill_in_one_and_in_chunks(name: str, folder: Path) -> None:
    stepper = Stepper(exported(name, Type.F32, folder))
    assert_close(stepper.read(TOKENS), name)
    ours, at = [], 0
    for size in (1, 7, 64, 3, 75):
        ours.append(stepper.step({1: (TOKENS[at : at + size], at)})[1])
        at += size
    assert_close(np.concatenate(ours), name)


@pytest.mark.parametrize("architecture", sorted({tiny.architecture for tiny in tiny_families.MODELS.values()}))
def test_the_head_is_the_embedding_or_its_own(architecture: str, tmp_path: Path) -> None:
    """Where the configuration has one, here it is the other."""
    tiny = next(tiny for tiny in tiny_families.MODELS.values() if tiny.architecture == architecture)
    tied = tiny_families.make(tiny).config.tie_word_embeddings
    tiny = replace(tiny, config={**tiny.config, "tie_word_embeddings": not tied})
    made = tiny_families.make(tiny)
    path = tiny_export.export(made, tiny, tmp_path / "model.gguf")
    with Gguf.open(path) as gguf:
        assert ("output.weight" in gguf.tensors) == tied
    exact = tiny_families.logits(made, TOKENS, torch.float64)
    tolerance = FACTOR * float(np.abs(tiny_families.logits(made, TOKENS) - exact).max())
    assert np.abs(Stepper(path).read(TOKENS) - exact).max() <= tolerance


@NAMES
def test_decode_beside_other_sequences(name: str, folder: Path) -> None:
    """Three of different lengths; two go on token by token past every window, one joins them with a prompt."""
    stepper = Stepper(exported(name, Type.F32, folder))
    lengths = {0: 50, 1: 13}
    first = stepper.step({s: (TOKENS[:length], 0) for s, length in lengths.items()})
    ours = {s: [rows] for s, rows in first.items()} | {2: []}
    for i in range(20):
        parts = {s: (TOKENS[length + i : length + i + 1], length + i) for s, length in lengths.items()}
        if i == 5:
            parts[2] = (TOKENS[:31], 0)
        for s, rows in stepper.step(parts).items():
            ours[s].append(rows)
    for rows in ours.values():
        assert_close(np.concatenate(rows), name)


@NAMES
def test_half_precision(name: str, folder: Path) -> None:
    assert_close(Stepper(exported(name, Type.F16, folder)).read(TOKENS), name, Type.F16)


@pytest.mark.parametrize(
    ("name", "type"),
    [(name, type) for name in tiny_families.MODELS for type in (Type.Q8_0, Type.Q4_0)] + [("gpt-oss", Type.MXFP4)],
)
def test_quantised(name: str, type: Type, folder: Path) -> None:
    exact = tiny_families.logits(model(name, type), TOKENS, torch.float64)
    rounded = tiny_families.rounded_logits(model(name, type), TOKENS)
    ours = Stepper(exported(name, type, folder)).read(TOKENS)
    ratio = rms(ours - rounded) / rms(rounded - exact)
    assert ratio <= INDEPENDENT, f"{ratio:.2f} of what rounding costs"


def rms(x: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(x * x)))


@NAMES
def test_every_tensor_of_a_file_is_used(name: str, folder: Path) -> None:
    """What no stage names would be silently left out of the computation."""
    with Gguf.open(exported(name, Type.F32, folder)) as gguf:
        used = {tensor.name for tensor in check(spec_for(gguf), gguf, {F32})}
        assert used == {n for n in gguf.tensors if not n.startswith("rope_f")}
        assert bool(spec_for(gguf).draft) == tiny_families.MODELS[name].nextn


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss", "qwen2moe"])
def test_answers_are_those_of_transformers(name: str, folder: Path) -> None:
    """From text to text, through loader, tokenizer, scheduler and sampler; greedy.

    The cache is F32: halves would tip choices that are nearly equal.
    """
    loaded, placed = open_model(
        Load((str(exported(name, Type.F32, folder)),), cache_type="f32"), lambda done, total: None
    )
    prompt = loaded.tokenizer.encode("hello the end")
    tokens = list(prompt)
    while len(tokens) < len(prompt) + 30 and tokens[-1] not in loaded.tokenizer.ends:
        tokens.append(int(tiny_families.logits(model(name, Type.F32), tokens)[-1].argmax()))
    heard = Desk(Jobs(loaded)).ask(Prompt("hello the end"), Sampling(temperature=0.0, max_tokens=30))
    detokenizer = Detokenizer(loaded.tokenizer)
    assert heard.text == "".join(map(detokenizer.push, tokens[len(prompt) :])) + detokenizer.finish()
    assert placed.architecture == tiny_families.MODELS[name].architecture


def test_every_supported_architecture_is_proven() -> None:
    proven = {tiny.architecture for tiny in tiny_families.MODELS.values()} | {"deepseek2", "bert", "nomic-bert"}
    assert set(SUPPORTED) == proven
