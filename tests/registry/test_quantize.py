"""Smaller weights: every K-quant against the decoder of the gguf package, and whole files with the usual mixtures."""

import struct

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from gguf_writer import F32, INT32, UINT16, UINT32, RawGguf, RawTensor, small_model

from ktd.engine.gguf import Gguf, TensorType
from ktd.registry.create import Wish, create
from ktd.registry.errors import CreateRefused
from ktd.registry.kquants import MAKERS, quantize
from ktd.registry.names import ModelName
from ktd.registry.recipes import RECIPES, recipe_named
from ktd.registry.record import Changes

T = TensorType
GROUPS = {T.Q2_K: (16, 3), T.Q4_K: (32, 15), T.Q5_K: (32, 31)}  # weights, and steps from the least to the greatest
SIGNED = {T.Q3_K: 4, T.Q6_K: 32}  # steps from zero to the farther end, in groups of 16
WIDTH = 512


def decoded(blocks, type):
    return quants.dequantize(blocks, GGMLQuantizationType(type.value))


def spanned(x, type):
    """The root mean square error of rounding to even steps that just span each group: step / sqrt(12)."""
    if type in GROUPS:
        size, steps = GROUPS[type]
        groups = x.reshape(-1, size)
        step = (np.maximum(groups.max(axis=1), 0) - np.minimum(groups.min(axis=1), 0)) / steps
    else:
        step = np.abs(x.reshape(-1, 16)).max(axis=1) / SIGNED[type]
    return np.sqrt((step**2).mean() / 12)


@pytest.mark.parametrize("type", MAKERS, ids=lambda type: type.name)
@pytest.mark.parametrize("shape", ["normal", "heavy-tailed", "positive", "sparse"])
def test_least_squares_is_no_worse_than_spanning_the_range(type, shape):
    """The search starts from the scale that spans a group, so it can only gain by leaving it. What it may lose on top
    is that scales are whole numbers of 4 to 8 bits themselves: half a step of them at most, within a tenth of the
    error for 6 bits and more (1/126 of 15 steps is 0.12 steps, whose square is a sixth of 1/12); Q2_K's have four bits.
    """
    rng = np.random.default_rng(7)
    x = {
        "normal": lambda: rng.standard_normal((32, WIDTH)),
        "heavy-tailed": lambda: rng.standard_t(4, (32, WIDTH)),
        "positive": lambda: rng.random((32, WIDTH)) + 3,
        "sparse": lambda: rng.standard_normal((32, WIDTH)) * (rng.random((32, WIDTH)) < 0.05),
    }[shape]().astype(np.float32) * np.float32(0.02)
    blocks = quantize(x, type)
    assert blocks.shape == (32, type.size(WIDTH))
    error = np.sqrt(((decoded(blocks, type) - x) ** 2).mean())
    assert error <= spanned(x, type) * (1.25 if type is T.Q2_K else 1.1)


@pytest.mark.parametrize("type", MAKERS, ids=lambda type: type.name)
def test_odd_weights(type):
    """Constants come back within the half-precision scale's rounding, 2^-11; nothing becomes infinite or unset."""
    ones = np.ones((1, 256), np.float32)
    for value in (0.0, 1.0, -1.0, 0.37, 1000.0):
        assert decoded(quantize(ones * np.float32(value), type), type) == pytest.approx(value, rel=2e-3)
    spike = np.where(np.arange(256) == 7, np.float32(1), np.float32(0))[None]
    assert decoded(quantize(spike, type), type)[0, 7] == pytest.approx(1, rel=2e-3)
    for value in (np.nan, np.inf, -np.inf):
        assert (decoded(quantize(ones * np.float32(value), type), type) == 0).all()
    for value in (1e-30, 1e30, -1e30):
        assert np.isfinite(decoded(quantize(ones * np.float32(value), type), type)).all()


def test_each_row_alone():
    """Threads convert parts of a tensor: how it is cut must not matter."""
    x = np.random.default_rng(1).standard_normal((8, WIDTH)).astype(np.float32)
    for type in MAKERS:
        assert (np.vstack([quantize(x[row : row + 1], type) for row in range(8)]) == quantize(x, type)).all()


def floats(layers: int = 8) -> RawGguf:
    """A model of float32 whose tensors have the names that the mixtures look at."""
    rng = np.random.default_rng(3)

    def tensor(name: str, *shape: int) -> RawTensor:
        count = int(np.prod(shape))
        return RawTensor(name, shape, F32, rng.standard_normal(count).astype("<f4").tobytes())

    named = [("attn_q", 256), ("attn_v", 256), ("attn_output", 256), ("ffn_down", 512), ("ffn_gate_inp", 256)]
    raw = small_model().key("deepseek2.block_count", UINT32, layers).key("deepseek2.embedding_length", UINT32, 256)
    raw.tensors[:] = [tensor("token_embd.weight", 256, 3), tensor("output.weight", 256, 3)]
    for layer in range(layers):
        raw.tensors.append(tensor(f"blk.{layer}.attn_norm.weight", 256))
        raw.tensors.extend(tensor(f"blk.{layer}.{name}.weight", width, 4) for name, width in named)
        raw.tensors.append(tensor(f"blk.{layer}.ffn_up.weight", 256, 24))
        raw.tensors.append(tensor(f"blk.{layer}.attn_k_b.weight", 96, 4))  # no multiple of 256
    return raw


def made(registry, paths, quantization: str):
    registry.import_files(paths, "full")
    wish = Wish(ModelName.parse("small"), Changes(), ModelName.parse("full"), (), recipe_named(quantization))
    return create(registry, wish, lambda _: None)


@pytest.mark.parametrize("name", RECIPES)
def test_the_usual_mixtures(registry, tmp_path, name):
    record = made(registry, [floats().write(tmp_path / "full.gguf")], name.lower())
    assert record.details.quantization_level == name
    with Gguf.open(record.files[0]) as gguf:
        assert gguf.metadata.integer("general.file_type") == RECIPES[name].file_type
        types = {tensor.name: tensor.type for tensor in gguf.tensors.values()}
    assert types["blk.0.attn_norm.weight"] is types["blk.0.ffn_gate_inp.weight"] is T.F32
    assert types["output.weight"] is RECIPES[name].head


def test_q4_k_m(registry, tmp_path):
    record = made(registry, [floats().write(tmp_path / "full.gguf")], "q4_K_M")
    with Gguf.open(record.files[0]) as gguf:
        types = {tensor.name: tensor.type for tensor in gguf.tensors.values()}
        got = np.frombuffer(gguf.data("blk.1.attn_q.weight"), np.uint8).reshape(4, -1)
    finer = [layer for layer in range(8) if types[f"blk.{layer}.attn_v.weight"] is T.Q6_K]
    assert finer == [layer for layer in range(8) if types[f"blk.{layer}.ffn_down.weight"] is T.Q6_K] == [0, 3, 6, 7]
    assert types["token_embd.weight"] is types["blk.1.attn_q.weight"] is T.Q4_K
    assert types["blk.0.attn_k_b.weight"] is T.Q5_0
    with Gguf.open(tmp_path / "full.gguf") as gguf:
        wanted = np.frombuffer(gguf.data("blk.1.attn_q.weight"), np.float32).reshape(4, -1)
    assert (got == quantize(wanted, T.Q4_K)).all()


def test_a_model_in_several_files_becomes_one(registry, tmp_path):
    whole = floats()
    parts = []
    for number, tensors in enumerate((whole.tensors[:5], whole.tensors[5:])):
        part = RawGguf(keys=list(whole.keys) if number == 0 else [], tensors=tensors)
        part = part.key("split.no", UINT16, number).key("split.count", UINT16, 2)
        part = part.key("split.tensors.count", INT32, len(whole.tensors))
        parts.append(part.write(tmp_path / f"full-0000{number + 1}-of-00002.gguf"))
    split = made(registry, [parts[0]], "q5_K_M")
    assert len(split.files) == 1
    one = made(registry, [whole.write(tmp_path / "full.gguf")], "q5_K_M")
    with Gguf.open(split.files[0]) as gguf, Gguf.open(one.files[0]) as other:
        assert "split.count" not in gguf.metadata
        for name in other.tensors:
            assert gguf.data(name) == other.data(name)


def test_an_embedding_that_is_the_head_too_is_kept_fine(registry, tmp_path):
    tied = floats()
    tied.tensors[:] = [tensor for tensor in tied.tensors if tensor.name != "output.weight"]
    with Gguf.open(made(registry, [tied.write(tmp_path / "full.gguf")], "Q4_K").files[0]) as gguf:
        assert gguf.tensors["token_embd.weight"].type is T.Q6_K


def test_what_cannot_be_made():
    with pytest.raises(CreateRefused, match=r"unsupported quantization type iq2_xs: this version makes Q2_K, Q3_K_S,"):
        recipe_named("iq2_xs")


def test_the_file_says_its_type_in_the_way_readers_look_for_it(registry, tmp_path):
    record = made(registry, [floats().write(tmp_path / "full.gguf")], "Q6_K")
    entry = struct.pack("<Q", 17) + b"general.file_type" + struct.pack("<II", UINT32, 18)
    assert record.files[0].read_bytes().count(entry) == 1
