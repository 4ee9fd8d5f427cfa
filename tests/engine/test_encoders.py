"""Encoders against transformers: the states of every token, and the vectors of texts.

Tolerances are those of test_families.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
import tiny_encoders
import torch
from answers import Desk
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from stepper import Stepper
from transformers import PreTrainedModel

from ktd.engine.check import check
from ktd.engine.gguf import Gguf
from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel, open_model
from ktd.engine.messages import Embeddings, Load, Prompt, Tokenize, Tokens
from ktd.engine.models import spec_for

FACTOR = 8
INDEPENDENT = 2**0.5
MEAN, CLS, RANK = 1, 2, 4
TOKENS = [int(t) for t in np.random.default_rng(11).integers(5, 90, tiny_encoders.CONTEXT)]
TEXTS = [*tiny_encoders.SENTENCES, "", "x", "tëxt " * 100]
NAMES = pytest.mark.parametrize("name", tiny_encoders.MODELS)


@functools.cache
def model(name: str, type: Type) -> PreTrainedModel:
    return tiny_encoders.make(name, type)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


def exported(name: str, folder: Path, type: Type = Type.F32, pooling: int = MEAN) -> Path:
    path = folder / f"{name}-{type.name}-{pooling}.gguf"
    return path if path.exists() else tiny_encoders.export(model(name, type), name, path, type, pooling)


def opened(name: str, folder: Path, pooling: int = MEAN) -> OpenModel:
    return open_model(
        Load((str(exported(name, folder, pooling=pooling)),), cache_type="f32"), lambda done, total: None
    )[0]


def rms(x: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(x * x)))


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@NAMES
@pytest.mark.parametrize("type", [Type.F32, Type.F16])
def test_states_of_texts_side_by_side(name: str, type: Type, folder: Path) -> None:
    """Of different lengths in one step, one of them as long as the model allows."""
    texts = {0: TOKENS, 1: TOKENS[:13], 2: TOKENS[40:41]}
    found = Stepper(exported(name, folder, type)).step({s: (tokens, 0) for s, tokens in texts.items()})
    for s, tokens in texts.items():
        exact = tiny_encoders.states(model(name, type), tokens, torch.float64)
        tolerance = FACTOR * np.abs(tiny_encoders.states(model(name, type), tokens) - exact).max()
        assert np.abs(found[s] - exact).max() <= tolerance


@NAMES
@pytest.mark.parametrize("type", [Type.Q8_0, Type.Q4_0])
def test_quantised(name: str, type: Type, folder: Path) -> None:
    exact = tiny_encoders.states(model(name, type), TOKENS, torch.float64)
    rounded = tiny_encoders.rounded_states(model(name, type), TOKENS)
    ours = Stepper(exported(name, folder, type)).read(TOKENS)
    ratio = rms(ours - rounded) / rms(rounded - exact)
    assert ratio <= INDEPENDENT, f"{ratio:.2f} of what rounding costs"


@NAMES
def test_every_tensor_of_a_file_is_used(name: str, folder: Path) -> None:
    with Gguf.open(exported(name, folder)) as gguf:
        assert {tensor.name for tensor in check(spec_for(gguf), gguf, {0})} == set(gguf.tensors)


@NAMES
@pytest.mark.parametrize("pooling", [MEAN, CLS])
def test_vectors_of_texts(name: str, pooling: int, folder: Path) -> None:
    """From text to vector, all in one request; the last is cut to the context, its end token kept."""
    desk = Desk(Jobs(opened(name, folder, pooling)))
    heard = desk.add_texts(*TEXTS)
    desk.drain()
    assert isinstance(heard.end, Embeddings)
    for text, vector, count in zip(TEXTS, heard.vectors, heard.end.tokens, strict=True):
        tokens = tiny_encoders.reference_tokens(name, text)
        tokens = [*tokens[: tiny_encoders.CONTEXT - 1], tokens[-1]] if len(tokens) > tiny_encoders.CONTEXT else tokens
        states = tiny_encoders.states(model(name, Type.F32), tokens)
        assert cosine(vector, states.mean(axis=0) if pooling == MEAN else states[0]) > 0.99999
        assert count == len(tokens)


def test_a_vector_does_not_depend_on_its_neighbours(folder: Path) -> None:
    desk = Desk(Jobs(opened("bert", folder)))
    np.testing.assert_array_equal(desk.embed(*TEXTS), [desk.embed(text)[0] for text in TEXTS])


def test_an_encoder_writes_nothing(folder: Path) -> None:
    failed = Desk(Jobs(opened("bert", folder))).ask("a token").failed
    assert failed.kind == "bad_request" and "embeds texts and generates none" in str(failed)


def test_its_tokens_stand_between_the_special_ones(folder: Path) -> None:
    record = Jobs(opened("bert", folder)).tokenize(Tokenize(1, Prompt("a token [SEP] naïve\x00")))
    assert isinstance(record, Tokens)
    assert [*record.tokens, tiny_encoders.SPECIALS.index("[SEP]")] == tiny_encoders.reference_tokens(
        "bert", "a token [SEP] naive"
    )


def test_ranking_models_are_refused(folder: Path) -> None:
    with Gguf.open(exported("bert", folder, pooling=RANK)) as gguf, pytest.raises(Exception, match="rank texts"):
        spec_for(gguf)
