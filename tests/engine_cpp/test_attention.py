"""What attention is made of, of every ISA: rows of the KV cache, and the softmax over tiles of keys."""

from collections.abc import Callable

import numpy as np
import pytest
from blocks import BY_NAME, dequantized
from numpy.typing import NDArray

from ktd.engine import _core

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

each_isa = pytest.mark.parametrize("isa", _core.isas())
each_length = pytest.mark.parametrize("n", [1, 7, 8, 15, 16, 17, 64, 100, 511])
floats = pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
EPSILON = 2.0**-24  # half a unit in the last place, relative


# --- rows of the cache ---


def nearest(name: str) -> Callable[[Floats], NDArray[np.uint8]]:
    """The bytes of a cache row, rounded to nearest even by NumPy (for BF16: by adding half a unit to the bits)."""
    if name == "F32":
        return lambda x: x.view(np.uint8)
    if name == "F16":
        return lambda x: x.astype(np.float16).view(np.uint8)

    def bf16(x: Floats) -> NDArray[np.uint8]:
        bits = x.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(np.uint8)

    return bf16


@each_isa
@floats
@each_length
def test_store_row(isa: str, name: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x = (rng.standard_normal(n) * 10.0 ** rng.integers(-8, 4, n)).astype(np.float32)
    got = _core.Kernels.of(isa).store_row(BY_NAME[name].number, x)
    np.testing.assert_array_equal(got, nearest(name)(x))


@each_isa
@floats
def test_store_row_keeps_what_is_no_number(isa: str, name: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    x = np.concatenate([x, np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)])  # odd NaN
    back = _core.dequantize(BY_NAME[name].number, _core.Kernels.of(isa).store_row(BY_NAME[name].number, x))
    np.testing.assert_array_equal(np.isnan(back), [True, False, False, False, True, True])
    np.testing.assert_array_equal(back[1:4], x[1:4])


@each_isa
@each_length
def test_q8_0_rows_are_off_by_half_a_step(isa: str, n: int) -> None:
    """A step is 1/127 of the largest of 32; its scale is rounded to a half, which moves 127 steps by 2^-11 of them."""
    rng = np.random.default_rng(n)
    x = np.float32(3) * rng.standard_normal(n).astype(np.float32)
    row = _core.Kernels.of(isa).store_row(BY_NAME["Q8_0"].number, x)
    back = dequantized(BY_NAME["Q8_0"], row[None])[0]
    most = np.abs(np.pad(x, (0, -n % 32)).reshape(-1, 32)).max(axis=1).repeat(32)
    assert (np.abs(back[:n] - x) <= (most * (0.501 / 127 + 2**-11))[:n]).all()
    assert (back[n:] == 0).all()


@each_isa
def test_q8_0_rows_show_what_is_no_number(isa: str) -> None:
    x = np.ones(64, np.float32)
    x[3] = np.nan
    kernels, q8_0 = _core.Kernels.of(isa), BY_NAME["Q8_0"].number
    back = kernels.load_rows(q8_0, kernels.store_row(q8_0, x)[None], 0, 64)[0]
    assert np.isnan(back[:32]).all() and np.isfinite(back[32:]).all()


@each_isa
@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q8_0"])
@pytest.mark.parametrize(("begin", "n"), [(0, 96), (32, 64), (16, 48), (5, 1), (7, 83), (95, 1), (0, 0)])
def test_load_rows(isa: str, name: str, begin: int, n: int) -> None:
    kernels, t = _core.Kernels.of(isa), BY_NAME[name]
    x = np.random.default_rng(n).standard_normal((5, 96)).astype(np.float32)
    rows = np.stack([kernels.store_row(t.number, row) for row in x])
    expected = dequantized(t, rows)[:, begin : begin + n]
    np.testing.assert_array_equal(kernels.load_rows(t.number, rows, begin, n), expected)


# --- softmax over keys ---


class Case:
    """Random queries with what they see of random keys."""

    def __init__(self, rows: int, keys: int, width: int, values: int) -> None:
        rng = np.random.default_rng(rows + keys + width)
        self.q = rng.standard_normal((rows, width)).astype(np.float32) / np.float32(width**0.5)
        self.keys = np.float32(2) * rng.standard_normal((keys, width)).astype(np.float32)
        self.values = rng.standard_normal((keys, values)).astype(np.float32)
        self.begin = rng.integers(0, keys, rows, np.int32)
        self.end = np.array([rng.integers(b + 1, keys + 1) for b in self.begin], np.int32)

    def attend(self, isa: str, softcap: float = 0.0) -> Floats:
        return _core.Kernels.of(isa).attend(self.q, self.keys, self.values, self.begin, self.end, softcap)

    def exact(self, softcap: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The means in float64, and how far from them float32 may be.

        A score is a sum of k products: off by at most k units of what their sizes add up to, and a capped one by
        some units of the cap. That moves each weight by the factor e^error, and so do numerator and denominator;
        exp is off by two units, and every key adds a rounding to either sum.
        """
        q, keys, values = (x.astype(np.float64) for x in (self.q, self.keys, self.values))
        scores, sizes = q @ keys.T, np.abs(q) @ np.abs(keys).T
        error = sizes.max(axis=1) * (keys.shape[1] + 1) * EPSILON
        if softcap:
            scores, error = softcap * np.tanh(scores / softcap), error + 16 * EPSILON * softcap
        places = np.arange(len(keys))
        hidden = (places < self.begin[:, None]) | (places >= self.end[:, None])
        scores[hidden] = -np.inf
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        bound = (np.expm1(2 * error) + (2 * len(keys) + 16) * EPSILON)[:, None] * (p @ np.abs(values))
        return p @ values, bound


CASES = [(1, 1, 8, 8), (1, 300, 64, 64), (7, 64, 40, 24), (13, 130, 192, 128), (70, 257, 33, 5), (16, 100, 576, 512)]


@each_isa
@pytest.mark.parametrize("shape", CASES, ids=str)
@pytest.mark.parametrize("softcap", [0.0, 5.0])
def test_attend(isa: str, shape: tuple[int, int, int, int], softcap: float) -> None:
    case = Case(*shape)
    exact, bound = case.exact(softcap)
    assert (np.abs(case.attend(isa, softcap) - exact) <= bound).all()


@each_isa
def test_rows_do_not_depend_on_their_neighbours(isa: str) -> None:
    together = Case(13, 200, 64, 48)
    rows = together.attend(isa)
    for r in range(13):
        alone = Case(13, 200, 64, 48)
        for name in ("q", "begin", "end"):
            setattr(alone, name, getattr(alone, name)[r : r + 1])
        np.testing.assert_array_equal(alone.attend(isa)[0], rows[r])


@each_isa
def test_hidden_keys_count_nothing_whatever_they_are(isa: str) -> None:
    case = Case(6, 128, 32, 16)
    case.begin[:], case.end[:] = 3, 100
    rows = case.attend(isa)
    case.keys[[0, 2, 100, 127]] = np.nan
    case.values[[0, 2, 100, 127]] = np.nan
    np.testing.assert_array_equal(case.attend(isa), rows)


@each_isa
def test_small_weights_are_as_exact_as_large_ones(isa: str) -> None:
    """Two keys, scores 0 and x < 0; values 0 and 1: the mean is e^x / (1 + e^x), down to the smallest floats."""
    x = -np.linspace(0, 87, 5001, dtype=np.float32)
    keys, values = np.array([[0], [1]], np.float32), np.array([[0], [1]], np.float32)
    begin, end = np.zeros(len(x), np.int32), np.full(len(x), 2, np.int32)
    got = _core.Kernels.of(isa).attend(x[:, None], keys, values, begin, end)[:, 0]
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(got, e / (1 + e), rtol=8 * EPSILON, atol=2**-126)


@each_isa
def test_large_scores_do_not_overflow(isa: str) -> None:
    keys, values = np.array([[1e4], [-1e4], [9e3]], np.float32), np.array([[1], [2], [3]], np.float32)
    begin, end = np.zeros(2, np.int32), np.full(2, 3, np.int32)
    q = np.array([[1e3], [-1e3]], np.float32)
    np.testing.assert_array_equal(_core.Kernels.of(isa).attend(q, keys, values, begin, end), [[1], [2]])
