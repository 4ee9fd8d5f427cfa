"""The CUDA C++ of a kernel family as one text, and the tables that it takes from the `gguf` package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "kernels"
TABLES = "tables.cuh"
INCLUDE = re.compile(r'#include "(\w+\.cuh)"')


@cache
def source(family: str) -> str:
    """`kernels/<family>.cuh` with all it includes in place, once each; lines keep their files' names and numbers."""
    return "\n".join(_lines(f"{family}.cuh", set())) + "\n"


def _lines(name: str, seen: set[str]) -> Iterator[str]:
    if name in seen:
        return
    seen.add(name)
    text = tables() if name == TABLES else (FOLDER / name).read_text()
    yield f'#line 1 "{name}"'
    for number, line in enumerate(text.splitlines(), start=1):
        included = INCLUDE.fullmatch(line)
        if included:
            yield from _lines(included[1], seen)
            yield f'#line {number + 1} "{name}"'
        elif line != "#pragma once":
            yield line


@cache
def tables() -> str:
    """The codebooks, part of the file format: the grids of the IQ types and the values of 4-bit ones."""
    from gguf import quants

    grids = [
        _array("uint64_t", "kGridIQ2_XXS", _magnitudes(quants.IQ2_XXS)),
        _array("uint64_t", "kGridIQ2_XS", _magnitudes(quants.IQ2_XS)),
        _array("uint64_t", "kGridIQ2_S", _magnitudes(quants.IQ2_S)),
        _array("uint32_t", "kGridIQ3_XXS", _magnitudes(quants.IQ3_XXS)),
        _array("uint32_t", "kGridIQ3_S", _magnitudes(quants.IQ3_S)),
        _array("uint32_t", "kGridIQ1", _ternary(quants.IQ1_S)),
        _array("uint32_t", "kValuesIQ4", _values(quants.IQ4_NL.kvalues)),
        _array("uint32_t", "kValuesE2M1", _values(quants.MXFP4.kvalues)),
    ]
    return '#include "simt.cuh"\n\nnamespace ktd {\n\n' + "\n".join(grids) + "\n}  // namespace ktd\n"


def _grid(quant: type) -> NDArray[np.int64]:
    """[points, 4 or 8] values of a type's grid."""
    quant.init_grid()  # type: ignore[attr-defined]
    return quant.grid.reshape(quant.grid_shape).astype(np.int64)  # type: ignore[attr-defined, no-any-return]


def _magnitudes(quant: type) -> NDArray[np.uint64]:
    """A byte per value, the first lowest."""
    grid = _grid(quant)
    return packed(grid, 8 * np.arange(grid.shape[1]))


def _ternary(quant: type) -> NDArray[np.uint64]:
    """Nibbles 0, 4 and 8 for -1, 0 and 1: the first four values low in the bytes, the last four high."""
    return packed(4 * (_grid(quant) + 1), np.array([0, 8, 16, 24, 4, 12, 20, 28]))


def packed(codes: NDArray[np.int64], shifts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """[points, n] to a word per point."""
    words: NDArray[np.uint64] = np.bitwise_or.reduce(codes.astype(np.uint64) << shifts.astype(np.uint64), axis=1)
    return words


def _values(values: tuple[int, ...]) -> NDArray[np.uint64]:
    """Sixteen signed bytes as four words."""
    return np.array(values, np.int8).view(np.uint32).astype(np.uint64)


def _array(word: str, name: str, entries: NDArray[np.uint64]) -> str:
    suffix = "ull" if word == "uint64_t" else "u"
    rows = [", ".join(f"{int(e):#x}{suffix}" for e in entries[i : i + 8]) for i in range(0, len(entries), 8)]
    body = ",\n    ".join(rows)
    return f"inline __device__ constexpr {word} {name}[{len(entries)}] = {{\n    {body}}};\n"
