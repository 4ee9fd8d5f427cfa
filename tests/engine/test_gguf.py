"""The GGUF reader on files that are right."""

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_writer import ARRAY, BOOL, FLOAT32, FLOAT64, INT64, STRING, UINT32, array, small_model

from ktd.engine.gguf import Gguf, GGUFError, TensorType

DEMO = Path(__file__).resolve().parents[2] / "packaging" / "demo" / "model" / "ktd-tiny-q8_0.gguf"

# gguf's constant keeps the two f32 fields that the block had until 2024; now they are f16 (ggml-common.h).
OUTDATED = {"Q8_1": (32, 40)}


def test_reads_what_gguf_reads():
    theirs = gguf.GGUFReader(DEMO)
    with Gguf.open(DEMO) as ours:
        assert ours.architecture == "deepseek2"
        assert ours.size == DEMO.stat().st_size
        assert [tensor.name for tensor in theirs.tensors] == list(ours.tensors)
        for tensor in theirs.tensors:
            mine = ours.tensors[tensor.name]
            assert (mine.type, mine.shape) == (tensor.tensor_type, tuple(tensor.shape.tolist()))
            assert (mine.offset, mine.nbytes) == (tensor.data_offset, tensor.n_bytes)
            assert bytes(ours.data(tensor.name)) == tensor.data.tobytes()
        keys = {key: field for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
        assert list(keys) == list(ours.metadata)
        for key, field in keys.items():
            value = ours.metadata[key]
            assert field.contents() == (value if isinstance(value, bool | int | float | str) else value.to_list()), key


def test_types_are_those_of_gguf():
    theirs = {kind.name: (kind.value, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    ours = {kind.name: (kind.value, kind.block, kind.bytes) for kind in TensorType}
    assert theirs.keys() <= ours.keys()
    for name, row in theirs.items():
        assert ours[name] == row or row[1:] == OUTDATED.get(name), name


def test_types_are_those_of_the_runtime():
    from ktd.engine._core import tensor_types

    ours = {(int(kind), kind.name, kind.block, kind.bytes) for kind in TensorType}
    rows = set(tensor_types())
    assert rows <= ours
    assert {name for _, name, _, _ in ours - rows} <= {"I8", "I16", "I32", "I64", "F64"}


def test_version_2_is_read(tmp_path):
    model = small_model()
    model.version = 2
    assert len(Gguf.open(model.write(tmp_path / "v2.gguf")).tensors) == 3


def test_alignment_of_the_file_is_used(tmp_path):
    model = small_model().key("general.alignment", UINT32, 256)
    model.alignment = 256
    with Gguf.open(str(model.write(tmp_path / "aligned.gguf"))) as opened:
        assert all(tensor.offset % 256 == 0 for tensor in opened.tensors.values())
        assert bytes(opened.data("token_embd.weight")) == bytes(range(102))


@pytest.fixture
def metadata(tmp_path):
    model = (
        small_model()
        .key("x.integer", INT64, -(1 << 40))
        .key("x.double", FLOAT64, 0.5)
        .key("x.nan", FLOAT32, float("nan"))
        .key("x.empty", ARRAY, array(UINT32, []))
        .key("x.flags", ARRAY, array(BOOL, [1, 0]))
        .key("x.broken", STRING, b"caf\xc3")
        .key("x.broken_list", ARRAY, array(STRING, ["fine", b"\xff"]))
        .key("x.bad_flags", ARRAY, array(BOOL, [1, 2]))
    )
    return Gguf.open(model.write(tmp_path / "keys.gguf")).metadata


def test_typed_getters(metadata):
    assert metadata.integer("x.integer") == -(1 << 40)
    assert metadata.number("x.double") == 0.5
    assert isinstance(metadata.number("x.integer"), float)
    assert metadata.text("general.name") == "small"
    assert metadata.flag("tokenizer.ggml.add_bos_token") is True
    assert metadata.texts("tokenizer.ggml.tokens") == ["a", "b", "é"]
    assert metadata.numbers("tokenizer.ggml.token_type").tolist() == [1, 1, 3]
    assert metadata.numbers("x.empty").size == 0
    assert metadata["x.flags"].to_list() == [True, False]
    assert metadata.text("x.broken") == "caf\N{REPLACEMENT CHARACTER}"


def test_defaults_stand_in_for_missing_keys_only(metadata):
    assert metadata.integer("no.such", 7) == 7
    assert metadata.text("no.such", None) is None
    assert metadata.numbers("no.such", None) is None
    with pytest.raises(GGUFError, match=r"keys\.gguf: metadata key 'no\.such' is missing"):
        metadata.integer("no.such")
    with pytest.raises(GGUFError, match=r"'general\.name' must be an integer, it is 'small'"):
        metadata.integer("general.name", 7)


@pytest.mark.parametrize(
    ("getter", "key"),
    [
        ("integer", "tokenizer.ggml.add_bos_token"),
        ("integer", "x.double"),
        ("number", "x.nan"),
        ("number", "x.flags"),
        ("text", "tokenizer.ggml.tokens"),
        ("flag", "x.integer"),
        ("numbers", "tokenizer.ggml.tokens"),
        ("numbers", "x.flags"),
        ("texts", "tokenizer.ggml.token_type"),
    ],
)
def test_ill_typed_keys_are_named(metadata, getter, key):
    with pytest.raises(GGUFError, match=f"metadata key '{key}' must be"):
        getattr(metadata, getter)(key)


def test_bad_elements_are_named(metadata):
    with pytest.raises(GGUFError, match=r"'x\.broken_list'\[1\] is not UTF-8"):
        metadata.texts("x.broken_list")
    with pytest.raises(GGUFError, match=r"'x\.bad_flags' holds a bool that is neither 0 nor 1"):
        metadata["x.bad_flags"].to_list()


def test_arrays_are_read_only(metadata):
    with pytest.raises(ValueError, match="read-only"):
        metadata.numbers("tokenizer.ggml.token_type")[0] = 5


def test_data_outlives_close(tmp_path):
    with Gguf.open(small_model().write(tmp_path / "model.gguf")) as opened:
        view = np.frombuffer(opened.data("token_embd.weight"), np.uint8)
    assert view.tolist() == list(range(102))


def test_data_of_a_file_cut_since(tmp_path):
    path = small_model().write(tmp_path / "model.gguf")
    opened = Gguf.open(path)
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(GGUFError, match=r"was cut inside tensor 'blk\.0\.ffn_down\.weight' since it was opened"):
        opened.data("blk.0.ffn_down.weight")


def test_data_of_an_emptied_file(tmp_path):
    path = small_model().write(tmp_path / "model.gguf")
    opened = Gguf.open(path)
    path.write_bytes(b"")
    with pytest.raises(GGUFError, match="was emptied since it was opened"):
        opened.data("blk.0.ffn_down.weight")
    with pytest.raises(GGUFError, match="tensor 'nothing' is missing"):
        opened.data("nothing")


def test_the_gguf_package_is_not_loaded():
    code = "import sys, ktd.engine.gguf; print('gguf' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
