"""K-quants: super-blocks of 256 weights with small integer scales, made by least squares.

A group of weights x is stored as whole numbers q with x ~ s q - m (Q2_K, Q4_K, Q5_K) or x ~ s q (Q3_K, Q6_K); the
scales s (and minima m >= 0) of a super-block are whole numbers too, times one half-precision number for each.
For a given q the best s and m solve a linear system, so the search goes over ways to round: some scales around the
one that just spans the group each give a q, that q its best s and m, and the pair with the least square error wins.
The layouts are those of GGUF (ggml's block structs), decoded by `engine_cpp/src/quant/ref/kquants.cpp`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ktd.engine.gguf import TensorType

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Whole = NDArray[Any]  # whole numbers, of the type that is at hand

WEIGHTS = 256  # of a super-block
LARGEST = np.float32(65504)  # half
STRETCHES = (0.75, 0.85, 0.9, 0.93, 0.96, 0.99, 1.02, 1.07)  # of the scale that just spans a group
TINY = np.float32(1e-30)


def quantize(rows: Floats, type: TensorType) -> Bytes:
    """[rows, width] weights, width a multiple of 256 -> [rows, bytes of that width].

    Weights that are not finite count as 0, and those no half can hold as the largest half.
    """
    blocks = np.clip(np.nan_to_num(rows, posinf=0, neginf=0), -LARGEST, LARGEST).reshape(-1, WEIGHTS)
    return MAKERS[type](blocks).reshape(len(rows), -1)


def _q2(x: Floats) -> Bytes:
    d, least, scales, minima, q = _with_minima(x, groups=16, top=3, finest=15)
    return np.hstack([scales | minima << 4, _planes(q), d, least])


def _q3(x: Floats) -> Bytes:
    d, scales, q = _symmetric(x, low=-4, finest=-32)
    q = (q + 4).astype(np.uint8)
    third = np.bitwise_or.reduce((q >> 2).reshape(-1, 8, 2, 16) << _shifts(8, 1, (1, 8, 1, 1)), axis=1)
    return np.hstack([third.reshape(-1, 32), _planes(q & 3), _sixteen_of_six_bits((scales + 32).astype(np.uint8)), d])


def _q4(x: Floats) -> Bytes:
    d, least, scales, minima, q = _with_minima(x, groups=8, top=15, finest=63)
    return np.hstack([d, least, _pairs_of_six_bits(scales, minima), _nibbles(q)])


def _q5(x: Floats) -> Bytes:
    d, least, scales, minima, q = _with_minima(x, groups=8, top=31, finest=63)
    fifth = np.bitwise_or.reduce(q >> 4 << _shifts(8, 1, (1, 8, 1)), axis=1)
    return np.hstack([d, least, _pairs_of_six_bits(scales, minima), fifth, _nibbles(q & 15)])


def _q6(x: Floats) -> Bytes:
    d, scales, q = _symmetric(x, low=-32, finest=-128)
    q = (q + 32).astype(np.uint8)
    low = (q & 15).reshape(-1, 2, 2, 64)
    packed: Whole = low[:, :, 0] | low[:, :, 1] << 4
    return np.hstack([packed.reshape(-1, 128), _planes(q >> 4), scales.view(np.uint8), d])


MAKERS: dict[TensorType, Callable[[Floats], Bytes]] = {
    TensorType.Q2_K: _q2,
    TensorType.Q3_K: _q3,
    TensorType.Q4_K: _q4,
    TensorType.Q5_K: _q5,
    TensorType.Q6_K: _q6,
}


def _with_minima(x: Floats, groups: int, top: int, finest: int) -> tuple[Bytes, Bytes, Whole, Whole, Whole]:
    """d and dmin as bytes, whole scales and minima [blocks, groups], and q [blocks, groups, weights]."""
    grouped = x.reshape(len(x), groups, -1)
    scale, minimum = _span(grouped, top)
    d, scales = _whole(scale, finest)
    least, minima = _whole(minimum, finest)
    step, offset = (d * scales)[..., None], (least * minima)[..., None]
    q = np.clip(np.rint((grouped + offset) / np.where(step > 0, step, np.inf)), 0, top).astype(np.float32)
    d, least = _refitted(grouped, q * scales[..., None], minima, d, least)
    return _half(d), _half(least), scales.astype(np.uint8), minima.astype(np.uint8), q.astype(np.uint8)


def _span(x: Floats, top: int) -> tuple[Floats, Floats]:
    """The scale and the minimum of each group that leave the least square error; x is [blocks, groups, weights]."""
    n = np.float32(x.shape[2])
    low = np.minimum(x.min(axis=2), 0)
    width = np.maximum(x.max(axis=2) - low, TINY) / top
    total, squares = x.sum(axis=2), np.einsum("bgw,bgw->bg", x, x)
    best, scale, minimum = np.full_like(width, np.inf), width, -low
    for stretch in STRETCHES:
        step = width * np.float32(stretch)
        q = np.clip(np.rint((x - low[..., None]) / step[..., None]), 0, top)
        q1, q2, qx = q.sum(axis=2), np.einsum("bgw,bgw->bg", q, q), np.einsum("bgw,bgw->bg", q, x)
        spread = n * q2 - q1 * q1  # a whole number; 0 when all q are the same
        s = (n * qx - total * q1) / np.maximum(spread, 1)
        m = (s * q1 - total) / n
        alone = (m < 0) | (spread < 1)
        s = np.where(alone, qx / np.maximum(q2, 1), s)
        m = np.where(alone, 0, m)
        error = squares + s * s * q2 + n * m * m - 2 * s * qx + 2 * m * total - 2 * s * m * q1
        better = (error < best) & (s > 0)
        best, scale, minimum = (np.where(better, new, old) for new, old in ((error, best), (s, scale), (m, minimum)))
    return scale, minimum


def _whole(values: Floats, finest: int) -> tuple[Floats, Floats]:
    """Numbers >= 0 of a super-block as a half [blocks, 1] times whole numbers 0..finest [blocks, groups]."""
    unit = _rounded(values.max(axis=1, keepdims=True) / np.float32(finest))
    return unit, np.clip(np.rint(values / np.where(unit > 0, unit, np.inf)), 0, finest)


def _refitted(x: Floats, steps: Floats, minima: Floats, d: Floats, least: Floats) -> tuple[Floats, Floats]:
    """The halves d and dmin that suit whole numbers best, where that is better than those they were made with."""
    a, b = steps.reshape(len(x), -1), np.repeat(minima, x.shape[2], axis=1)
    flat = x.reshape(len(x), -1)
    aa, bb, ab = (np.einsum("bw,bw->b", *pair) for pair in ((a, a), (b, b), (a, b)))
    ax, bx = np.einsum("bw,bw->b", a, flat), np.einsum("bw,bw->b", b, flat)
    determinant = aa * bb - ab * ab
    safe = np.where(determinant > 1e-3 * aa * bb, determinant, np.inf)
    found = [_rounded(((top) / safe)[:, None]) for top in (bb * ax - ab * bx, ab * ax - aa * bx)]
    errors = [((one * a - other * b - flat) ** 2).sum(axis=1) for one, other in (found, (d, least))]
    take = ((errors[0] < errors[1]) & (found[0][:, 0] > 0) & (found[1][:, 0] >= 0))[:, None]
    return np.where(take, found[0], d), np.where(take, found[1], least)


def _symmetric(x: Floats, low: int, finest: int) -> tuple[Bytes, NDArray[np.int8], NDArray[np.int8]]:
    """d as bytes, whole scales [blocks, 16] and q [blocks, 16, 16] in low..-low-1."""
    grouped = x.reshape(len(x), 16, 16)
    scale = _steps(grouped, low)
    widest = np.take_along_axis(scale, np.abs(scale).argmax(axis=1)[:, None], axis=1)
    d = _rounded(widest / np.float32(finest))
    scales = np.clip(np.rint(scale / np.where(d == 0, np.inf, d)), finest, -finest - 1)
    step = (d * scales)[..., None]
    q = np.clip(np.rint(grouped / np.where(step == 0, np.inf, step)), low, -low - 1)
    whole, flat = (q * scales[..., None]).reshape(len(x), -1), x
    better = np.einsum("bw,bw->b", whole, flat) / np.maximum(np.einsum("bw,bw->b", whole, whole), TINY)
    d = np.where(whole.any(axis=1), better, 0)[:, None]
    return _half(d), scales.astype(np.int8), q.astype(np.int8)


def _steps(x: Floats, low: int) -> Floats:
    """The signed scale of each group with the least square error: the farther end of q's range is the negative one."""
    peak = np.take_along_axis(x, np.abs(x).argmax(axis=2)[..., None], axis=2)[..., 0]
    unit = np.where(np.abs(peak) > TINY, peak, TINY) / np.float32(low)
    best: Floats = np.full_like(unit, -1)
    scale: Floats = unit.astype(np.float32)
    for stretch in STRETCHES:
        q = np.clip(np.rint(x / (unit * np.float32(stretch))[..., None]), low, -low - 1)
        qx, q2 = np.einsum("bgw,bgw->bg", q, x), np.maximum(np.einsum("bgw,bgw->bg", q, q), TINY)
        gain = qx * qx / q2  # what of the square sum it explains
        better = gain > best
        best, scale = np.where(better, gain, best), np.where(better, qx / q2, scale)
    return scale


def _rounded(values: Floats) -> Floats:
    """To half precision and back; what is larger than any half becomes the largest."""
    return np.clip(values, -LARGEST, LARGEST).astype(np.float16).astype(np.float32)


def _half(values: Floats) -> Bytes:
    return np.clip(values, -LARGEST, LARGEST).astype("<f2").view(np.uint8)


def _shifts(count: int, step: int, shape: tuple[int, ...]) -> Whole:
    return (np.arange(count, dtype=np.uint8) * np.uint8(step)).reshape(shape)


def _planes(q: Whole) -> Whole:
    """Two bits of 256 weights: 32 bytes hold 128 in four planes."""
    planes: Whole = np.bitwise_or.reduce(q.reshape(-1, 2, 4, 32) << _shifts(4, 2, (1, 1, 4, 1)), axis=2)
    return planes.reshape(-1, 64)


def _nibbles(q: Whole) -> Whole:
    """Four bits of 256 weights: 32 bytes hold 64, the low nibbles first."""
    pairs = q.reshape(-1, 4, 2, 32)
    packed: Whole = pairs[:, :, 0] | pairs[:, :, 1] << 4
    return packed.reshape(-1, 128)


def _pairs_of_six_bits(scales: Whole, minima: Whole) -> Whole:
    """Eight scales and eight minima: the first four of both lend their bytes' top bits to the last four."""
    high = [part[:, :4] | part[:, 4:] >> 4 << 6 for part in (scales, minima)]
    return np.hstack([*high, (scales[:, 4:] & 15) | (minima[:, 4:] & 15) << 4])


def _sixteen_of_six_bits(scales: Whole) -> Whole:
    """A nibble of each in eight bytes, the two bits above it in four."""
    low = (scales[:, :8] & 15) | (scales[:, 8:] & 15) << 4
    high = (scales >> 4).reshape(-1, 4, 4) << _shifts(4, 2, (1, 4, 1))
    return np.hstack([low, np.bitwise_or.reduce(high, axis=1)])
