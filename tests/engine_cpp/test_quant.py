"""The scalar truth: every tensor type against `gguf.quants` bit for bit, and its dot product."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from blocks import BY_NAME, TYPES, Type, dequantized, random_rows, width
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from numpy.typing import NDArray

from ktd.engine import _core

ENGINE_CPP = Path(__file__).resolve().parents[2] / "engine_cpp"

each_type = pytest.mark.parametrize("t", TYPES, ids=lambda t: t.name)


def half(blocks: NDArray[np.uint8], at: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16).astype(np.float32)


def own_decoders() -> dict[str, object]:
    """Decoders of the types that `gguf.quants` lacks, from ggml's description of their blocks."""

    def q8_1(b: NDArray[np.uint8]) -> NDArray[np.float32]:
        return half(b, 0) * b[:, 4:].view(np.int8).astype(np.float32)

    def q8_k(b: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.ascontiguousarray(b[:, :4]).view(np.float32) * b[:, 4:260].view(np.int8).astype(np.float32)

    def q1_0(b: NDArray[np.uint8]) -> NDArray[np.float32]:
        bits = np.unpackbits(b[:, 2:], axis=1, bitorder="little")
        return np.where(bits == 1, half(b, 0), -half(b, 0))

    def q2_0(b: NDArray[np.uint8]) -> NDArray[np.float32]:
        pairs = np.unpackbits(b[:, 2:], axis=1, bitorder="little").reshape(len(b), 64, 2).astype(np.int8)
        return half(b, 0) * (pairs[..., 0] + 2 * pairs[..., 1] - 1).astype(np.float32)

    return {"Q8_1": q8_1, "Q8_K": q8_k, "Q1_0": q1_0, "Q2_0": q2_0}


OWN = own_decoders()


def expected(t: Type, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):  # random bits hold infinities and NaN
        if t.name in OWN:
            return OWN[t.name](rows.reshape(-1, t.bytes)).reshape(-1)  # type: ignore[operator]
        return quants.dequantize(rows, GGMLQuantizationType(t.number)).reshape(-1)


def assert_same_bits(got: NDArray[np.float32], want: NDArray[np.float32]) -> None:
    """Equal to the last bit, but one NaN is as good as another."""
    numbers = ~np.isnan(want)
    assert (np.isnan(got) == ~numbers).all()
    np.testing.assert_array_equal(got[numbers].view(np.uint32), want[numbers].view(np.uint32))


def test_every_type_of_the_format_is_known() -> None:
    theirs = {t.value: (t.name, *GGML_QUANT_SIZES[t]) for t in GGMLQuantizationType}
    floats_and_quants = {n: row for n, row in theirs.items() if row[0] not in {"I8", "I16", "I32", "I64", "F64"}}
    ours = {t.number: (t.name, t.block, t.bytes) for t in TYPES}
    newer = {42: ("Q2_0", 64, 18)}
    changed = {9: ("Q8_1", 32, 36)}  # see BlockQ8_1
    assert ours == floats_and_quants | newer | changed


@each_type
def test_dequantize_is_bit_exact_on_any_bits(t: Type) -> None:
    rng = np.random.default_rng(t.number)
    rows = rng.integers(0, 256, (512, t.bytes), dtype=np.uint8)
    assert_same_bits(_core.dequantize(t.number, rows.reshape(-1)), expected(t, rows))


@each_type
def test_dequantize_is_bit_exact_on_finite_weights(t: Type) -> None:
    rows = random_rows(t, 4, width(t, 1024), np.random.default_rng(t.number))
    got = dequantized(t, rows)
    assert np.isfinite(got).all()
    assert_same_bits(got.reshape(-1), expected(t, rows))


@pytest.mark.parametrize("name", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"])
def test_dequantize_reads_what_gguf_writes(name: str) -> None:
    t = BY_NAME[name]
    weights = np.random.default_rng(1).standard_normal((8, 512)).astype(np.float32)
    rows = quants.quantize(weights, GGMLQuantizationType(t.number)).view(np.uint8)
    assert_same_bits(dequantized(t, rows).reshape(-1), expected(t, rows))


@each_type
def test_dot_reference(t: Type) -> None:
    """Against float64. A stored activation is off by up to half its scale; the float result by half a unit."""
    rng = np.random.default_rng(t.number)
    k = width(t, 512)
    rows = random_rows(t, 8, k, rng)
    weights = dequantized(t, rows).astype(np.float64)
    for row, w in zip(rows, weights, strict=True):
        x = rng.standard_normal(k).astype(np.float32)
        exact = float(w @ x)
        tolerance = 2**-24 * abs(exact) + 1e-30
        if t.block > 1:
            scales = np.abs(x).reshape(-1, 32).max(axis=1) / 127
            # 0.51 for 0.5: x times the rounded 127 / top may fall on the wrong side of a tie.
            tolerance += float(np.abs(w).reshape(-1, 32).sum(axis=1) @ scales) * 0.51
        assert abs(_core.dot_reference(t.number, row, x) - exact) <= tolerance


@pytest.mark.parametrize("number", [4, 5, 24, 31, 36, 43, 1 << 31])
def test_unknown_type_is_refused(number: int) -> None:
    for call in (
        lambda: _core.dequantize(number, np.zeros(32, np.uint8)),
        lambda: _core.dot_reference(number, np.zeros(32, np.uint8), np.zeros(32, np.float32)),
        lambda: _core.Kernels.of("scalar").matmul(number, np.zeros((1, 32), np.uint8), np.zeros((1, 32), np.float32)),
    ):
        with pytest.raises(_core.EngineError, match=str(number)):
            call()


def test_broken_blocks_and_shapes_are_refused() -> None:
    q8_0 = BY_NAME["Q8_0"].number
    with pytest.raises(_core.EngineError, match="35 bytes"):
        _core.dequantize(q8_0, np.zeros(35, np.uint8))
    with pytest.raises(_core.EngineError, match="as many values"):
        _core.dot_reference(q8_0, np.zeros(34, np.uint8), np.zeros(64, np.float32))


def test_codebooks_are_those_of_gguf() -> None:
    tool = runpy.run_path(str(ENGINE_CPP / "tools" / "codebooks.py"))
    assert (ENGINE_CPP / "src" / "quant" / "codebooks.inc").read_text() == tool["text"]()
