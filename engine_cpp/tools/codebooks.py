"""Write src/quant/codebooks.inc: the grids of the IQ types, read from the `gguf` package and packed.

The grids are part of the file format: data that every reader must share. Run it again when the package gains a type.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import quants

TABLES = [
    ("kGridIQ2_XXS", quants.IQ2_XXS, 2),
    ("kGridIQ2_XS", quants.IQ2_XS, 2),
    ("kGridIQ2_S", quants.IQ2_S, 2),
    ("kGridIQ3_XXS", quants.IQ3_XXS, 3),
    ("kGridIQ3_S", quants.IQ3_S, 3),
    ("kGridIQ1", quants.IQ1_S, 2),
]
TARGET = Path(__file__).resolve().parents[1] / "src" / "quant" / "codebooks.inc"
PER_LINE = 13


def packed(source: type, bits: int) -> list[int]:
    """One integer per grid point: the index of each coordinate in the type's value list, first lowest."""
    source.init_grid()
    grid = source.grid.reshape(source.grid_shape)
    codes = np.searchsorted(np.array(source.grid_map, dtype=np.float32), grid)
    return (codes << (bits * np.arange(grid.shape[1]))).sum(axis=1).tolist()


def lines() -> Iterator[str]:
    yield "// Written by tools/codebooks.py from the grids in the `gguf` package; do not edit."
    for name, source, bits in TABLES:
        entries = packed(source, bits)
        yield f"alignas(64) constexpr uint16_t {name}[{len(entries)}] = {{"
        for i in range(0, len(entries), PER_LINE):
            yield "    " + ", ".join(f"0x{e:04x}" for e in entries[i : i + PER_LINE]) + ","
        yield "};"


def text() -> str:
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
    sys.stdout.write(f"wrote {TARGET}\n")
