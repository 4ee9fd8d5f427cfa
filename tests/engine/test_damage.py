"""Metadata of any content: a spec and a tokenizer come out, or a refusal, and nothing else."""

import math
from typing import Any

import demo
import headers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktd.engine.check import check
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Array, Gguf, GGUFError, Value, ValueType
from ktd.engine.models import spec_for
from ktd.engine.models.deepseek2 import MOST_HEAD_WIDTH
from ktd.engine.spec import MlaAttention, ModelSpec
from ktd.engine.tokenizer import Tokenizer

with Gguf.open(demo.Q8_0) as DEMO:
    KEYS = [key for key in DEMO.metadata if key.startswith("deepseek2.")]
    TOKENIZER_KEYS = [key for key in DEMO.metadata if key.startswith("tokenizer.ggml.")]

numbers = np.array([np.nan, 1e300, -1.0, 3.0]).tobytes()
values: st.SearchStrategy[Value] = st.one_of(
    st.sampled_from([0, 1, 2, -1, 7, 1 << 31, (1 << 31) - 1, 1 << 63, 2560, 65536]),
    st.integers(-(1 << 63), 1 << 64),
    st.floats(),
    st.sampled_from([1e-320, 1e308, 1e-6, 0.5, -0.0]),
    st.booleans(),
    st.sampled_from(["yarn", "linear", "none", "longrope", "", "llama", "qwen2"]),
    st.just(Array(ValueType.FLOAT64, 4, numbers, "an array")),
)


def changed(changes: dict[str, Value]) -> Gguf:
    shapes = {name: tensor.shape for name, tensor in DEMO.tensors.items()}
    return headers.header({**DEMO.metadata, **changes}, shapes)


def sound(spec: ModelSpec) -> bool:
    """Every number that the runtime computes with is one, and within reach."""
    attention = [stage for stage in spec.stages if isinstance(stage, MlaAttention)]
    return all(
        math.isfinite(stage.scale)
        and 0 < stage.eps <= 1
        and len(stage.rope.frequencies) <= MOST_HEAD_WIDTH
        and all(0 <= frequency <= 1 for frequency in stage.rope.frequencies)
        for stage in attention
    )


@given(st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=3))
@settings(max_examples=600, deadline=None)
def test_hyper_parameters(changes: dict[str, Value]) -> None:
    gguf = changed(changes)
    try:
        spec = spec_for(gguf)
        check(spec, gguf, {0})
    except (GGUFError, LoadRefused) as refused:
        assert str(refused)
    else:
        assert sound(spec)


@given(st.dictionaries(st.sampled_from(TOKENIZER_KEYS), values, min_size=1, max_size=2))
@settings(max_examples=100, deadline=None)
def test_tokenizers(changes: dict[str, Value]) -> None:
    try:
        tokenizer = Tokenizer.from_metadata(changed(changes).metadata)
    except (GGUFError, LoadRefused) as refused:
        assert str(refused)
    else:
        assert all(0 <= token < len(tokenizer) for token in tokenizer.encode("Hello <think> 你好"))


@pytest.mark.parametrize("kind", [ValueType.FLOAT32, ValueType.INT64, ValueType.UINT8])
def test_token_types_of_other_number_types(kind: ValueType) -> None:
    dtype = {ValueType.FLOAT32: "<f4", ValueType.INT64: "<i8", ValueType.UINT8: "u1"}[kind]
    types: Any = DEMO.metadata.numbers("tokenizer.ggml.token_type").astype(dtype)
    metadata = changed({"tokenizer.ggml.token_type": Array(kind, len(types), types.tobytes(), "types")}).metadata
    if kind is ValueType.FLOAT32:
        with pytest.raises(LoadRefused, match="instead of integers"):
            Tokenizer.from_metadata(metadata)
    else:
        assert Tokenizer.from_metadata(metadata).encode("a") == Tokenizer.from_metadata(DEMO.metadata).encode("a")
