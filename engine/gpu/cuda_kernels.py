"""Kernels: the launches of engine/gpu/kernels, on tensors that are already on the device.

Results go to tensors that the caller gives, so that nothing is allocated here and everything can be captured in a
graph. Sizes come from shapes alone: nothing is read back from the device.
"""

from __future__ import annotations

from ctypes import c_float, c_int, c_int64
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from ktd.engine import spec
from ktd.engine.gguf import TensorType
from ktd.engine.gpu.grouping import TILE, Grouping
from ktd.engine.gpu.launcher import Argument, Grid, Launcher, pointer
from ktd.engine.gpu.planes import GROUP, Laid

THREADS = 128  # of a block of products, kThreads
NORM_THREADS = 256  # kNormThreads, kDequantiseThreads
WAVES = 8  # blocks per multiprocessor that a loop over rows is spread to
TOKENS = (1, 2, 4, 8)  # that products are compiled for
MOST_TOKENS = TOKENS[-1]
MOST_EXPERTS, MOST_GROUPS = 512, 32  # kMostExperts, kMostGroups
FLOATS = (TensorType.F32, TensorType.F16, TensorType.BF16)
ACTIVATIONS: tuple[spec.Activation, ...] = get_args(spec.Activation)


@dataclass(frozen=True, slots=True)
class Activations:
    """Rows of k values, k a multiple of 32: integers times a scale for every 32, rounded as the CPU's kernels do."""

    q: Tensor  # int8 [n, k]
    scales: Tensor  # float32 [n, k / 32]
    sums: Tensor  # float32 [n, k / 16] scale * sum of 16 integers

    @staticmethod
    def empty(n: int, k: int, device: torch.device | str = "cpu") -> Activations:
        assert k % GROUP == 0, f"{k} activations are not a multiple of {GROUP}"
        return Activations(
            torch.empty(n, k, dtype=torch.int8, device=device),
            torch.empty(n, k // 32, dtype=torch.float32, device=device),
            torch.empty(n, k // 16, dtype=torch.float32, device=device),
        )

    def floats(self) -> Tensor:
        """What they stand for, float32 [n, k]."""
        return self.q * self.scales.repeat_interleave(GROUP, dim=1)


@dataclass(frozen=True, slots=True)
class Choice:
    """Experts that a router chose for each token, and where they stand in a stack."""

    ids: Tensor  # int32 [n, used]
    factors: Tensor  # float32 [n, used]
    places: Tensor | None = None  # int32 [experts] matrix of the stack, -1: not on this device; None: all in order


@dataclass(frozen=True, slots=True)
class GateUp:
    """The first half of a stack of feed-forward blocks; see spec.Gated."""

    gate: Laid
    up: Laid | None
    activation: spec.Activation
    gate_bias: Tensor | None = None  # float32 [experts, width]
    up_bias: Tensor | None = None


class Kernels:
    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    # --- between products ---

    def quantise(self, x: Tensor, to: Activations) -> None:
        """x float32 [n, k]."""
        groups = x.numel() // GROUP
        self._elementwise("quantise<>", groups, pointer(x), c_int64(groups), *_pointers(to))

    def norm(self, x: Tensor, weight: Tensor | None, eps: float, out: Tensor | None, to: Activations | None) -> None:
        """RMS norm of the first values of each row of x [n, any width], as many as `out` [n, k] or `to` has."""
        of = out if to is None else to.q
        assert of is not None, "the norm of nothing"
        own = (pointer(x), c_int64(x.shape[1]), pointer(weight), c_float(eps), c_int(of.shape[1]), pointer(out))
        self._launcher.launch("elementwise", "norm<>", (len(x), 1, 1), NORM_THREADS, *own, *_pointers(to))

    def activate(self, activation: spec.Activation, gate: Tensor, up: Tensor | None, to: Activations) -> None:
        """activation(gate) * up, both float32 [n, k]; see spec.Gated."""
        groups = gate.numel() // GROUP
        own = (c_int(ACTIVATIONS.index(activation)), pointer(gate), pointer(up), c_int64(groups))
        self._elementwise("activate<>", groups, *own, *_pointers(to))

    def _elementwise(self, kernel: str, groups: int, *arguments: Argument) -> None:
        """A warp for every group."""
        grid = (_quotient(groups, NORM_THREADS // 32), 1, 1)
        self._launcher.launch("elementwise", kernel, grid, NORM_THREADS, *arguments)

    # --- products ---

    def matvec(self, w: Laid, x: Activations, out: Tensor, first: int = 0, parts: int = 1, add: bool = False) -> None:
        """out [n, rows] = rows of w from `first` on . x, n up to MOST_TOKENS; with `add`, to what is there.

        The rows are `parts` equal parts, each with activations of its own: x has n * parts rows, a token's together.
        """
        n, rows = out.shape
        lanes = self._lanes(w.k // GROUP, rows)
        own = (pointer(w.bytes), c_int64(w.blocks), c_int(w.k), c_int(first), c_int(rows), c_int(rows // parts))
        rest = (c_int(n), pointer(out), c_int(rows), c_int(add), c_int(lanes))
        kernel = f"matvec<{w.type.name}, {_bucket(n)}>"
        self._launcher.launch("matvec", kernel, self._grid(rows, lanes), THREADS, *own, *_pointers(x), *rest)

    def float_matvec(self, w: Laid, x: Tensor, out: Tensor, first: int = 0, parts: int = 1, add: bool = False) -> None:
        """As matvec, of a matrix of floats with x float32 [n * parts, k]."""
        n, rows = out.shape
        lanes = self._lanes(w.k, rows)
        own = (pointer(w.bytes), c_int(w.k), c_int(first), c_int(rows), c_int(rows // parts), pointer(x))
        rest = (c_int(n), pointer(out), c_int(rows), c_int(add), c_int(lanes))
        kernel = f"float_matvec<{w.type.name}, {_bucket(n)}>"
        self._launcher.launch("floats", kernel, self._grid(rows, lanes), THREADS, *own, *rest)

    def gate_up(self, block: GateUp, choice: Choice, x: Activations, to: Activations) -> None:
        """to [n * used, width] = activation(gate . x) * (up . x) of every chosen expert, in the order of `ids`.

        What stands at experts that are not on this device is left as it is.
        """
        used, width, gate, up = choice.ids.shape[1], to.q.shape[1], block.gate, block.up or block.gate
        matrices = (
            pointer(gate.bytes),
            c_int64(gate.blocks),
            pointer(up.bytes if block.up else None),
            c_int64(up.blocks),
        )
        chosen = (pointer(choice.ids), pointer(choice.places), c_int(used))
        last = (c_int(ACTIVATIONS.index(block.activation)), pointer(block.gate_bias), pointer(block.up_bias))
        self._launcher.launch(
            "experts", f"gate_up<{gate.type.name}, {up.type.name}>", (width // GROUP, choice.ids.numel(), 1), THREADS,
            *matrices, c_int(gate.k), c_int(width), *chosen, *_pointers(x), *last, *_pointers(to),
        )  # fmt: skip

    def down(
        self, w: Laid, choice: Choice, x: Activations, out: Tensor, bias: Tensor | None = None, add: bool = False
    ) -> None:
        """out [n, rows] = sum over a token's experts of factor * (w . x + bias), in the order of `ids`.

        x is what gate_up made. bias is float32 [experts, rows]. Experts that are not on this device add nothing.
        """
        n, rows = out.shape
        lanes = self._lanes(w.k // GROUP, rows)
        chosen = (pointer(choice.ids), pointer(choice.places), c_int(choice.ids.shape[1]), pointer(choice.factors))
        self._launcher.launch(
            "experts", f"down<{w.type.name}>", (self._grid(rows, lanes)[0], n, 1), THREADS,
            pointer(w.bytes), c_int64(w.blocks), c_int(w.k), c_int(rows), *chosen, *_pointers(x),
            pointer(bias), pointer(out), c_int(add), c_int(lanes),
        )  # fmt: skip

    def dequantise(self, w: Laid, first: int, out: Tensor) -> None:
        """out [rows, k], float32 or bfloat16: rows of w from `first` on."""
        begin, groups = first * (w.k // GROUP), out.numel() // GROUP
        floats, halves = (out, None) if out.dtype is torch.float32 else (None, out)
        blocks = min(_quotient(groups, NORM_THREADS), WAVES * self._launcher.processors)
        self._launcher.launch(
            "dequantise", f"dequantise<{w.type.name}>", (blocks, 1, 1), NORM_THREADS,
            pointer(w.bytes), c_int64(w.blocks), c_int64(begin), c_int64(groups), pointer(floats), pointer(halves),
        )  # fmt: skip

    def grouped_gemm(self, w: Laid, rows: int, x: Tensor, grouping: Grouping, out: Tensor, gathered: bool) -> None:
        """out float32 [entries, rows] = the matrix of each entry's expert, `rows` rows of the stack w, . its row of x.

        x is bfloat16 [n, k], a row per token, or per entry when it is `gathered` already.
        """
        order = None if gathered else grouping.rows
        self._launcher.launch(
            "gemm", f"grouped_gemm<{w.type.name}>", (_quotient(rows, TILE), len(grouping.tiles), 1), THREADS,
            pointer(w.bytes), c_int64(w.blocks), c_int(w.k), c_int(rows), pointer(x), pointer(order),
            pointer(grouping.tiles), pointer(out),
        )  # fmt: skip

    # --- choosing ---

    def route(
        self, router: spec.Router, logits: Tensor, logits_bias: Tensor | None, bias: Tensor | None, to: Choice
    ) -> None:
        """Experts and factors of each token from its logits, float32 [n, experts]; the biases are float32 [experts]."""
        assert router.experts <= MOST_EXPERTS and router.groups <= MOST_GROUPS, "more than the kernel has room for"
        facts = (router.experts, router.used, router.groups, router.groups_used)
        flags = (router.gating == "sigmoid", router.group_score == "top2", router.normalise)
        self._launcher.launch(
            "router", "route<>", (len(logits), 1, 1), 32,
            pointer(logits), pointer(logits_bias), pointer(bias), *map(c_int, facts), *map(c_int, flags),
            c_float(router.scale), pointer(to.ids), pointer(to.factors),
        )  # fmt: skip

    def _lanes(self, steps: int, rows: int) -> int:
        """Threads that share a row of so many steps: fewer for short rows, more where rows would not fill the device.

        Never by the number of tokens, so that a token's sum has the same order alone and beside others.
        """
        lanes = 32
        while lanes > 4 and lanes > steps:
            lanes //= 2
        while lanes < THREADS and lanes * 2 <= steps and rows * lanes < 1024 * self._launcher.processors:
            lanes *= 2
        return lanes

    def _grid(self, rows: int, lanes: int) -> Grid:
        return min(_quotient(rows, THREADS // lanes), WAVES * self._launcher.processors), 1, 1


def _pointers(x: Activations | None) -> tuple[Argument, ...]:
    return (pointer(None),) * 3 if x is None else (pointer(x.q), pointer(x.scales), pointer(x.sums))


def _bucket(tokens: int) -> int:
    return next(size for size in TOKENS if tokens <= size)


def _quotient(x: int, by: int) -> int:
    return -(-x // by)
