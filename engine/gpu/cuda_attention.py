"""AttentionKernels: the launches around a look back over the paged cache, for single tokens of many sequences."""

from __future__ import annotations

from ctypes import c_float, c_int, c_int64
from dataclasses import dataclass

import torch
from torch import Tensor

from ktd.engine.gpu.launcher import Argument, Launcher, pointer

THREADS = 128  # kTurnThreads, kAttendThreads
HEADS = 16  # query heads of a block, kHeads
CHUNK = 256  # tokens of a split: never by the length, so that sums have one order
CELLS = {torch.bfloat16: "CellBF16", torch.float16: "CellF16", torch.float32: "CellF32"}


@dataclass(frozen=True, slots=True)
class Places:
    """Where tokens stand, as in Batch; all int32."""

    positions: Tensor  # [n]
    sequences: Tensor  # [n] row of `pages`
    pages: Tensor  # [sequences, columns]
    page_tokens: int

    def arguments(self) -> tuple[Argument, ...]:
        pages = (pointer(self.pages), c_int(self.pages.shape[1]), c_int(self.page_tokens))
        return pointer(self.sequences), *pages


@dataclass(frozen=True, slots=True)
class Turning:
    """What is done to each head's vector: RMS norm (where there is a weight), then rotation of some of its values."""

    frequencies: Tensor  # float32 [pairs]; of none, nothing is rotated
    adjacent: bool
    at: int = 0  # the first value that is rotated
    magnitude: float = 1.0
    norm: Tensor | None = None  # float32 [size]
    eps: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What queries see; see spec.GqaAttention. With `latent` a value is the first `value` columns of the key."""

    kv_heads: int
    key: int  # values of a query and key, a multiple of 16
    value: int  # a multiple of 8
    latent: bool
    scale: float
    window: int = 0
    softcap: float = 0.0
    sinks: Tensor | None = None  # float32 [heads]


class AttentionKernels:
    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def turn(
        self, x: Tensor, heads: int, turning: Turning, places: Places, cache: Tensor | None, column: int = 0
    ) -> None:
        """x float32 [n, heads * size], or a view of the first columns of wider rows: in place, or, with a cache
        [slots, width], to the columns from `column` on of each token's row."""
        n, size = len(x), x.shape[1] // heads
        assert x.stride(1) == 1, "a row's values lie together"
        dtype = torch.bfloat16 if cache is None else cache.dtype
        width = 0 if cache is None else cache.shape[1]
        sequences, *pages = places.arguments()
        self._launcher.launch(
            "rotary", f"turn<{CELLS[dtype]}>", (-(-n * heads // (THREADS // 32)), 1, 1), THREADS,
            pointer(x, strided=True), c_int64(x.stride(0)), c_int(n), c_int(heads), c_int(size),
            pointer(turning.norm), c_float(turning.eps), c_int(turning.at), c_int(len(turning.frequencies)),
            pointer(turning.frequencies), c_float(turning.magnitude), c_int(turning.adjacent),
            pointer(places.positions), sequences, *pages, pointer(cache), c_int(width), c_int(column),
        )  # fmt: skip

    def attend(self, q: Tensor, cache: Tensor, look: Look, places: Places, out: Tensor, length: int) -> None:
        """q float32 [n, heads, key] -> out float32 [n, heads, value], over cache rows [slots, width]: keys of all key
        heads, then their values. `length` is at least the most tokens that any sequence has."""
        (n, heads, _), splits = q.shape, -(-length // CHUNK)
        assert look.key % 16 == 0 and look.value % 8 == 0 and cache.shape[1] % 8 == 0, "parts of 16 bytes"
        group = heads // look.kv_heads
        found = torch.empty(n, heads, splits, look.value, device=q.device)
        stats = torch.empty(n, heads, splits, 2, device=q.device)
        kernel = f"attend<{CELLS[cache.dtype]}, {look.key}, {look.value}, {int(look.latent)}>"
        sequences, *pages = places.arguments()
        self._launcher.launch(
            "attention", kernel, (splits, look.kv_heads * -(-group // HEADS), n), THREADS,
            pointer(q), pointer(cache), c_int(cache.shape[1]), c_int(look.kv_heads * look.key), c_int(look.kv_heads),
            c_int(group), *pages, sequences, pointer(places.positions), c_int(look.window), c_float(look.scale),
            c_float(look.softcap), c_int(CHUNK), pointer(found), pointer(stats),
        )  # fmt: skip
        self._launcher.launch(
            "attention", "merge<>", (heads, n, 1), THREADS,
            pointer(found), pointer(stats), c_int(heads), c_int(splits), c_int(look.value), pointer(look.sinks),
            pointer(out),
        )  # fmt: skip
