"""KernelProducts: quantised products by the kernels of engine/gpu/kernels, on whatever a launcher runs them on.

Few tokens multiply weights as they are, rounded to 8 bits as on the CPU; more of them as bf16, in tiles on tensor
cores.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ktd.engine.gpu.activations import activate
from ktd.engine.gpu.cuda_kernels import FLOATS, MOST_TOKENS, Activations, Choice, GateUp, Kernels
from ktd.engine.gpu.grouping import Grouping, grouped, side_by_side
from ktd.engine.gpu.planes import Laid, empty, put
from ktd.engine.gpu.products import Block, Matrices
from ktd.engine.gpu.stored import Stored
from ktd.engine.gpu.torch_products import TorchProducts

DTYPES = dict(zip(FLOATS, (torch.float32, torch.float16, torch.bfloat16), strict=True))


class KernelMatrices:
    def __init__(self, stored: Stored, kernels: Kernels, device: torch.device) -> None:
        """Bring them to the device as the file has them, one by one, and lay them there."""
        self.rows, self.count = stored.rows, len(stored.matrices)
        self.laid = empty(stored.type, self.count * self.rows, stored.k, device)
        for which, blocks in enumerate(stored.matrices):
            put(self.laid, which * self.rows, stored.type, torch.tensor(blocks, device=device))
        self._kernels = kernels

    @property
    def quantised(self) -> bool:
        return self.laid.type not in FLOATS

    def pick(self, rows: Tensor) -> Tensor:
        """float32 [n, k]; the rows are not read back."""
        if not self.quantised:
            return self._floats()[rows].float()
        picked = torch.cat([plane[rows].flatten() for plane in self.laid.planes()])
        out = torch.empty(len(rows), self.laid.k, device=rows.device)
        self._kernels.dequantise(Laid(self.laid.type, len(rows), self.laid.k, picked), 0, out)
        return out

    def multiply(self, x: Tensor, which: int = 0) -> Tensor:
        return self._products(x, 1, which)

    def multiply_each(self, x: Tensor) -> Tensor:
        """x [count, n, k] -> [count, n, rows]."""
        count, n, _ = x.shape
        if n > MOST_TOKENS and self.quantised:
            return self._many(x.flatten(0, 1), n, 0, count).view(count, n, self.rows)
        made = self._products(x.transpose(0, 1).flatten(0, 1), count, 0)
        return made.view(n, count, self.rows).transpose(0, 1)

    def _products(self, x: Tensor, parts: int, which: int) -> Tensor:
        """x [n * parts, k], a token's parts together, by that many matrices from `which` on -> [n, parts * rows]."""
        n = len(x) // parts
        if n > MOST_TOKENS and parts == 1 and self.quantised:
            return self._many(x, n, which, 1)
        out = torch.empty(n, parts * self.rows, device=x.device)
        for first in range(0, n, MOST_TOKENS):
            some, to = x[first * parts : (first + MOST_TOKENS) * parts], out[first : first + MOST_TOKENS]
            if self.quantised:
                self._kernels.matvec(self.laid, self.rounded(some), to, which * self.rows, parts)
            else:
                self._kernels.float_matvec(self.laid, some.contiguous(), to, which * self.rows, parts)
        return out

    def _many(self, x: Tensor, n: int, first: int, count: int) -> Tensor:
        """x [count * n, k], n tokens for each of `count` matrices -> [count * n, rows]."""
        return self.grouped(x.to(torch.bfloat16), side_by_side(n, first, count, x.device), gathered=True)

    def grouped(self, x: Tensor, grouping: Grouping, gathered: bool) -> Tensor:
        """x bfloat16 [n, k] -> [entries, rows]."""
        out = torch.zeros(len(grouping.order), self.rows, device=x.device)
        self._kernels.grouped_gemm(self.laid, self.rows, x.contiguous(), grouping, out, gathered)
        return out

    def rounded(self, x: Tensor) -> Activations:
        made = Activations.empty(len(x), x.shape[1], x.device)
        self._kernels.quantise(x.contiguous(), made)
        return made

    def _floats(self) -> Tensor:
        return self.laid.bytes.view(DTYPES[self.laid.type]).view(self.laid.rows, self.laid.k)


class KernelProducts:
    def __init__(self, kernels: Kernels, device: torch.device) -> None:
        self.device = device
        self._kernels = kernels
        self._plain = TorchProducts(device)  # of blocks of floats, which no large model has

    def matrices(self, stored: Stored) -> KernelMatrices:
        return KernelMatrices(stored, self._kernels, self.device)

    def block(self, block: Block, x: Tensor) -> Tensor:
        if len(x) > 1 or not all_quantised(block):
            return self._plain.block(block, x)  # weights are read once for all tokens
        one = torch.ones(1, 1, device=x.device)
        return self._few(block, x, Choice(torch.zeros_like(one, dtype=torch.int32), one))

    def experts(self, block: Block, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        if not all_quantised(block):
            return self._plain.experts(block, x, ids, weights)
        if len(x) > MOST_TOKENS:
            return self._many(block, x, ids, weights)
        return self._few(block, x, Choice(ids.int().contiguous(), weights.contiguous()))

    def _few(self, block: Block, x: Tensor, choice: Choice) -> Tensor:
        gate, up, down = (kernel_matrices(part) for part in (block.gate, block.up, block.down))
        assert gate is not None and down is not None, "only up may be missing"
        first = GateUp(gate.laid, None if up is None else up.laid, block.activation, block.gate_bias, block.up_bias)
        made = Activations.empty(choice.ids.numel(), gate.rows, x.device)
        self._kernels.gate_up(first, choice, gate.rounded(x), made)
        out = torch.empty(len(x), down.rows, device=x.device)
        self._kernels.down(down.laid, choice, made, out, block.down_bias)
        return out

    def _many(self, block: Block, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """By expert, then back in the order of the choices: sums have one order."""
        gate, up, down = (kernel_matrices(part) for part in (block.gate, block.up, block.down))
        assert gate is not None and down is not None, "only up may be missing"
        grouping, halves = grouped(ids, gate.count), x.to(torch.bfloat16)
        expert = ids.flatten()[grouping.order]
        made_gate = biased(gate.grouped(halves, grouping, False), block.gate_bias, expert)
        made_up = None if up is None else biased(up.grouped(halves, grouping, False), block.up_bias, expert)
        inner = activate(block.activation, made_gate, made_up).to(torch.bfloat16)
        made = biased(down.grouped(inner, grouping, True), block.down_bias, expert)
        back = torch.empty_like(made)
        back[grouping.order] = made
        summed: Tensor = (back.view(*ids.shape, -1) * weights[..., None]).sum(dim=1)
        return summed


def kernel_matrices(matrices: Matrices | None) -> KernelMatrices | None:
    assert matrices is None or isinstance(matrices, KernelMatrices), "weights are where they were brought"
    return matrices


def all_quantised(block: Block) -> bool:
    parts = (kernel_matrices(part) for part in (block.gate, block.up, block.down))
    return all(part is None or part.quantised for part in parts)


def biased(x: Tensor, bias: Tensor | None, expert: Tensor) -> Tensor:
    """Each entry [rows] with the bias of its expert."""
    return x if bias is None else x + bias[expert.long()]
