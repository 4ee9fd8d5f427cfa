"""The kernels of every ISA this machine can run, against the scalar truth."""

import numpy as np
import pytest
from blocks import BY_NAME, TYPES, Type, apart, dequantized, random_rows, width
from numpy.typing import NDArray

from ktd.engine import _core

Floats = NDArray[np.float32]

each_isa = pytest.mark.parametrize("isa", _core.isas())
each_type = pytest.mark.parametrize("t", TYPES, ids=lambda t: t.name)
each_length = pytest.mark.parametrize("n", [1, 7, 8, 15, 16, 17, 64, 100, 511])

MANY = 12  # tokens from which a kernel may unpack weights for all of them
EPSILON = 2.0**-24  # half a unit in the last place, relative


def reference(t: Type, rows: NDArray[np.uint8], x: Floats) -> Floats:
    return np.array([[_core.dot_reference(t.number, row, token) for row in rows] for token in x], np.float32)


def tolerance(t: Type, rows: NDArray[np.uint8], x: Floats) -> NDArray[np.float64]:
    """[tokens, rows]. A lane adds at most k / 8 products, then lanes are added, and a product is rounded a few times
    by its scales: every step is off by EPSILON of what has been added so far, which the sum of magnitudes bounds.
    A stored activation is at most 1.004 of its block's largest, and so is that bound."""
    weights = np.abs(dequantized(t, rows).astype(np.float64)) + 2 * apart(t, rows)[:, None]
    sizes = np.abs(x.astype(np.float64))
    if t.block > 1:
        sizes += sizes.reshape(len(x), -1, 32).max(axis=2).repeat(32, axis=1) / 254
    return (x.shape[1] / 8 + 32) * EPSILON * (sizes @ weights.T) + 1e-30


def assert_matmul(isa: str, t: Type, rows: NDArray[np.uint8], x: Floats) -> None:
    got = _core.Kernels.of(isa).matmul(t.number, rows, x)
    assert (np.abs(got - reference(t, rows, x).astype(np.float64)) <= tolerance(t, rows, x)).all()


@each_isa
@each_type
def test_matmul(isa: str, t: Type) -> None:
    """Every number of tokens up to more than a tile, and of rows that no tile divides."""
    rng = np.random.default_rng(t.number)
    k = width(t, 512)
    for tokens in range(1, 10):
        rows = random_rows(t, 11, k, rng)
        assert_matmul(isa, t, rows, rng.standard_normal((tokens, k)).astype(np.float32))


@each_isa
@each_type
def test_matmul_of_odd_widths(isa: str, t: Type) -> None:
    """Rows that end within a vector, or within the 256 weights that kernels take at once."""
    rng = np.random.default_rng(t.number)
    for about in (1, 33, 96, 129, 288, 544):
        k = width(t, about)
        assert_matmul(isa, t, random_rows(t, 5, k, rng), rng.standard_normal((3, k)).astype(np.float32))


@each_isa
@each_type
def test_matmul_of_many_tokens(isa: str, t: Type) -> None:
    """A prompt: rows and tokens that no tile divides."""
    rng = np.random.default_rng(t.number)
    k = width(t, 320)
    assert_matmul(isa, t, random_rows(t, 51, k, rng), rng.standard_normal((MANY + 1, k)).astype(np.float32))


@each_isa
@each_type
def test_few_tokens_and_rows_keep_every_bit(isa: str, t: Type) -> None:
    """A request is answered alike alone and beside others, however rows and tokens are cut into tiles."""
    rng = np.random.default_rng(9)
    k = width(t, 288)
    rows, x = random_rows(t, 5, k, rng), rng.standard_normal((MANY - 1, k)).astype(np.float32)
    kernels = _core.Kernels.of(isa)
    together = kernels.matmul(t.number, rows, x)
    for token in range(MANY - 1):
        for row in range(5):
            alone = kernels.matmul(t.number, rows[row : row + 1].copy(), x[token : token + 1].copy())
            np.testing.assert_array_equal(alone, together[token : token + 1, row : row + 1])


@each_isa
@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_K", "Q6_K", "IQ1_S", "IQ2_S", "IQ4_NL", "F16"])
def test_matmul_of_long_rows_and_more_tokens(isa: str, name: str) -> None:
    t = BY_NAME[name]
    rng = np.random.default_rng(7)
    assert_matmul(isa, t, random_rows(t, 17, 4352, rng), rng.standard_normal((67, 4352)).astype(np.float32))


@each_isa
@pytest.mark.parametrize(
    "name", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q5_K", "IQ1_M", "IQ3_S", "MXFP4"]
)
def test_many_tokens_gather_and_stride(isa: str, name: str) -> None:
    t = BY_NAME[name]
    rng = np.random.default_rng(8)
    rows, x = random_rows(t, 33, 256, rng), rng.standard_normal((5, 256)).astype(np.float32)
    gather = rng.integers(0, 5, MANY + 7).astype(np.int32)
    kernels = _core.Kernels.of(isa)
    got = kernels.matmul(t.number, rows, x, gather, 40)
    np.testing.assert_array_equal(got[:, :33], kernels.matmul(t.number, rows, np.ascontiguousarray(x[gather])))
    assert not got[:, 33:].any()


@each_isa
@pytest.mark.parametrize(
    "name", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q5_K", "IQ1_M", "IQ3_S", "MXFP4"]
)
def test_matmul_gathers_and_strides(isa: str, name: str) -> None:
    t = BY_NAME[name]
    rng = np.random.default_rng(2)
    rows, x = random_rows(t, 6, 256, rng), rng.standard_normal((5, 256)).astype(np.float32)
    gather = np.array([4, 0, 0, 3, 2, 4, 1], np.int32)
    kernels = _core.Kernels.of(isa)
    got = kernels.matmul(t.number, rows, x, gather, 9)
    assert got.shape == (7, 9)
    np.testing.assert_array_equal(got[:, :6], kernels.matmul(t.number, rows, np.ascontiguousarray(x[gather])))
    assert not got[:, 6:].any()


@each_isa
@each_type
def test_large_activations_stay_finite(isa: str, t: Type) -> None:
    """DeepSeek's late layers reach 1e4 and more: a half would overflow in the scale times the sum."""
    rng = np.random.default_rng(3)
    rows = random_rows(t, 4, 512, rng)
    for tokens in (2, MANY):
        x = (1e4 * rng.uniform(0.5, 1, (tokens, 512))).astype(np.float32)  # of one sign: the sums are large
        assert np.isfinite(_core.Kernels.of(isa).matmul(t.number, rows, x)).all()
        assert_matmul(isa, t, rows, x)


@each_isa
@each_type
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_activation_shows_in_its_token_only(isa: str, t: Type, bad: float) -> None:
    rng = np.random.default_rng(4)
    k = width(t, 256)
    for tokens in (4, MANY):
        rows, x = random_rows(t, 19, k, rng), rng.standard_normal((tokens, k)).astype(np.float32)
        x[1, 5] = bad
        got = _core.Kernels.of(isa).matmul(t.number, rows, x)
        assert not np.isfinite(got[1]).any()
        assert np.isfinite(np.delete(got, 1, axis=0)).all()


@each_isa
@each_type
def test_any_weight_bits_do_not_crash(isa: str, t: Type) -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 256, (37, 4 * t.bytes), dtype=np.uint8)
    for tokens in (2, MANY):
        x = rng.standard_normal((tokens, 4 * t.block)).astype(np.float32)
        assert _core.Kernels.of(isa).matmul(t.number, rows, x).shape == (tokens, 37)


@each_isa
def test_matmul_refuses_wrong_shapes(isa: str) -> None:
    kernels, rows, x = _core.Kernels.of(isa), np.zeros((2, 34), np.uint8), np.zeros((3, 32), np.float32)
    for arguments in (
        (rows, np.zeros((3, 64), np.float32)),
        (rows[:, :33].copy(), x),
        (rows, x, np.array([3], np.int32)),
        (rows, x, np.array([-1], np.int32)),
        (rows, x, None, 1),
    ):
        with pytest.raises(_core.EngineError):
            kernels.matmul(BY_NAME["Q8_0"].number, *arguments)


@each_isa
def test_quantize_q8(isa: str) -> None:
    """Bit for bit the same on every ISA, and what its description says."""
    rng = np.random.default_rng(6)
    x = (rng.standard_normal(512) * 10.0 ** rng.integers(-20, 20, 512)).astype(np.float32)
    x[32:64] = 0
    x[64:96] = 1e-40  # too small for its scale's inverse
    q, d, s = _core.Kernels.of(isa).quantize_q8(x)
    blocks = x.reshape(-1, 32)
    top = np.abs(blocks).max(axis=1)
    usable = top > 2.0**-100
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        want = np.rint(np.clip(blocks * np.where(usable, np.float32(127) / top, np.float32(0))[:, None], -127, 127))
    np.testing.assert_array_equal(q.reshape(-1, 32), want)
    np.testing.assert_array_equal(d, np.where(usable, top / np.float32(127), np.float32(0)))
    np.testing.assert_array_equal(s, d.repeat(2) * q.reshape(-1, 16).sum(axis=1, dtype=np.int32).astype(np.float32))


@each_isa
@each_length
def test_rms_norm(isa: str, n: int) -> None:
    """n squares summed and a handful of roundings after."""
    rng = np.random.default_rng(n)
    x, weight = rng.standard_normal((2, n)).astype(np.float32)
    exact = x.astype(np.float64) / np.sqrt((x.astype(np.float64) ** 2).mean() + 1e-6) * weight
    np.testing.assert_allclose(_core.Kernels.of(isa).rms_norm(x, weight, 1e-6), exact, rtol=(n / 2 + 6) * EPSILON)


@each_isa
@each_length
def test_layer_norm(isa: str, n: int) -> None:
    """A mean far from zero costs digits of the inputs alone: each difference from it is off by a unit of the mean."""
    rng = np.random.default_rng(n)
    x, weight, bias = rng.standard_normal((3, n)).astype(np.float32)
    x += 10
    wide = x.astype(np.float64)
    scale = 1 / np.sqrt(wide.var() + 1e-6)
    found = _core.Kernels.of(isa).layer_norm(x, weight, bias, 1e-6)
    shift = (n / 2 + 2) * EPSILON * np.abs(wide).mean()  # of the mean, and so of every difference
    normed = np.abs(wide - wide.mean()) * scale
    bound = np.abs(weight) * (scale * shift * (1 + normed) + (n / 2 + 8) * EPSILON * normed) + EPSILON * np.abs(bias)
    assert np.all(np.abs(found - ((wide - wide.mean()) * scale * weight + bias)) <= bound)


@each_isa
@each_length
def test_silu_mul(isa: str, n: int) -> None:
    """exp is off by 2 units at most, and the sum, quotient and product by half a unit each."""
    rng = np.random.default_rng(n)
    gate, up = (10 * rng.standard_normal((2, n))).astype(np.float32)
    exact = gate / (1 + np.exp(-gate.astype(np.float64))) * up
    np.testing.assert_allclose(_core.Kernels.of(isa).silu_mul(gate, up), exact, rtol=8 * EPSILON, atol=1e-42)


@each_isa
@each_length
def test_axpy(isa: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((2, n)).astype(np.float32)
    bound = 2 * EPSILON * (np.abs(0.3 * x) + np.abs(y))
    exact = np.float64(np.float32(0.3)) * x + y
    assert (np.abs(_core.Kernels.of(isa).axpy(0.3, x, y) - exact) <= bound).all()


def test_unknown_isa_is_refused() -> None:
    with pytest.raises(_core.EngineError, match="neon"):
        _core.Kernels.of("neon")
    assert _core.Kernels.of("").isa == _core.isas()[0]
