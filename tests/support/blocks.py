"""Random weights of every GGUF tensor type: any bits will do for the integers, but scales must be finite."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ktd.engine import _core

Bytes = NDArray[np.uint8]

# Where a block keeps its half-precision scales.
HALVES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q8_1": (0, 2), "IQ4_NL": (0,),
    "Q1_0": (0,), "Q2_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,), "IQ1_S": (0,), "IQ4_XS": (0,),
    "TQ1_0": (52,), "TQ2_0": (64,),
}  # fmt: skip


# A number of a block, and how many times its size weights are raised at most: where it stands, factor, its type.
RAISED: dict[str, tuple[int, int, type[np.floating[Any]]]] = {
    "Q4_0": (0, 8, np.float16), "Q4_1": (2, 1, np.float16), "Q5_0": (0, 16, np.float16), "Q5_1": (2, 1, np.float16),
    "Q8_0": (0, 128, np.float16), "Q8_1": (0, 128, np.float16), "Q2_K": (82, 15, np.float16),
    "Q3_K": (108, 4 * 32, np.float16), "Q4_K": (2, 63, np.float16), "Q5_K": (2, 63, np.float16),
    "Q6_K": (208, 32 * 128, np.float16), "Q8_K": (0, 128, np.float32), "IQ1_S": (0, 17, np.float16),
    "IQ2_XXS": (0, 167, np.float16), "IQ2_XS": (0, 167, np.float16), "IQ2_S": (0, 167, np.float16),
    "IQ3_XXS": (0, 481, np.float16), "IQ3_S": (0, 465, np.float16), "IQ4_NL": (0, 128, np.float16),
    "IQ4_XS": (0, 32 * 128, np.float16), "Q1_0": (0, 1, np.float16), "Q2_0": (0, 1, np.float16),
    "TQ1_0": (52, 1, np.float16), "TQ2_0": (64, 1, np.float16),
}  # fmt: skip


@dataclass(frozen=True)
class Type:
    number: int
    name: str
    block: int  # weights
    bytes: int


TYPES = [Type(*row) for row in _core.tensor_types()]
BY_NAME = {t.name: t for t in TYPES}


def random_rows(t: Type, rows: int, k: int, rng: np.random.Generator, scale: float = 1.0) -> Bytes:
    """[rows, bytes of k weights], all weights finite and, at scale one, of moderate size."""
    if t.block == 1:
        return stored(t, scale * rng.standard_normal((rows, k)).astype(np.float32))
    n = rows * k // t.block
    blocks = rng.integers(0, 256, (n, t.bytes), dtype=np.uint8)
    for at in HALVES.get(t.name, ()):
        blocks[:, at : at + 2] = halves(rng, n, scale)
    if t.name == "Q8_K":
        blocks[:, :4] = rng.uniform(-scale, scale, (n, 1)).astype(np.float32).view(np.uint8)
    if t.name == "MXFP4":
        blocks[:, 0] = rng.integers(117, 138, n) + round(np.log2(scale))
    if t.name == "NVFP4" and scale != 1.0:  # exponents of four bits, and three of a mantissa
        blocks[:, :4] = np.clip((blocks[:, :4] & 127).astype(int) + 8 * round(np.log2(scale)), 0, 126)
    if t.name == "IQ1_M":  # the nibbles of one half, on top of four words
        half = halves(rng, n, scale).view(np.uint16)
        for word in range(4):
            nibble = (half[:, 0] >> (4 * word) & 15).astype(np.uint8)
            blocks[:, 49 + 2 * word] = blocks[:, 49 + 2 * word] & 15 | nibble << 4
    return blocks.reshape(rows, -1)


def spread_rows(t: Type, rows: int, k: int, rng: np.random.Generator, spread: float) -> Bytes:
    """As random_rows, with weights of about this standard deviation: what a model's own look like."""
    sample = dequantized(t, random_rows(t, 64, width(t, 256), rng))
    return random_rows(t, rows, k, rng, float(spread / sample.std()))


def halves(rng: np.random.Generator, n: int, scale: float = 1.0) -> Bytes:
    """[n, 2]: finite, of both signs, some of them subnormal."""
    values = rng.uniform(-scale, scale, (n, 1)).astype(np.float16)
    values[rng.random((n, 1)) < 0.05] *= np.float16(2**-15)
    return values.view(np.uint8)


def stored(t: Type, x: NDArray[np.float32]) -> Bytes:
    """Float weights in the bytes of F32, F16 or BF16 (cut, not rounded)."""
    if t.name == "F32":
        return x.view(np.uint8)
    if t.name == "F16":
        return x.astype(np.float16).view(np.uint8)
    return np.ascontiguousarray(x.view(np.uint16)[:, 1::2]).view(np.uint8)


def dequantized(t: Type, rows: Bytes) -> NDArray[np.float32]:
    """[rows, k] by the engine's reference."""
    return _core.dequantize(t.number, rows.reshape(-1)).reshape(rows.shape[0], -1)


def width(t: Type, about: int) -> int:
    """The whole blocks of a type nearest above `about` weights; quantised activations come in 32s."""
    unit = t.block if t.block > 1 else 1
    return -(-about // unit) * unit


def apart(t: Type, rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[rows]: by how much a kernel raises weights at most, to take the same off again through the sums."""
    blocks = rows.reshape(len(rows), -1, t.bytes)
    if t.name == "IQ1_M":  # by nine eighths of a scale; its smallest weights are one eighth
        return 9 * np.abs(dequantized(t, rows)).max(axis=1).astype(np.float64)
    if t.name == "MXFP4":  # by 6, its largest
        return 6 * 2.0 ** (blocks[..., 0].max(axis=1) - 127.0)
    if t.name == "NVFP4":  # by 6 times a scale below 2^(exponent - 6)
        return 6 * 2.0 ** ((blocks[..., :4] >> 3 & 15).max(axis=(1, 2)) - 6.0)
    at, times, form = RAISED.get(t.name, (0, 0, np.float16))
    scales = np.ascontiguousarray(blocks[..., at : at + np.dtype(form).itemsize]).view(form)[..., 0]
    return np.zeros(len(rows)) if times == 0 else times * np.abs(scales.astype(np.float64)).max(axis=1)
