"""CudaProducts: quantised products by the kernels of this folder; weights stay quantised, laid in planes.

Up to MOST_TOKENS tokens multiply weights as they are; more of them go through tiles of bfloat16 and torch's own
products, or through the grouped product of the experts.
"""

import numpy as np
import torch
from torch import Tensor

from ktd.engine.gpu.activations import activate
from ktd.engine.gpu.cuda_kernels import FLOATS, MOST_TOKENS, Activations, Choice, GateUp, Kernels
from ktd.engine.gpu.grouping import grouped
from ktd.engine.gpu.planes import Laid, empty, put
from ktd.engine.gpu.products import Block, Matrices
from ktd.engine.gpu.stored import Stored
from ktd.engine.gpu.torch_products import one_by_one

TILE = 8 << 20  # weights that are floats at a time
DTYPES = dict(zip(FLOATS, (torch.float32, torch.float16, torch.bfloat16), strict=True))


class CudaMatrices:
    def __init__(self, stored: Stored, kernels: Kernels, device: torch.device) -> None:
        """Bring each matrix over as the file has it, and lay it there."""
        self.rows = stored.rows
        self.count = len(stored.matrices)
        self.laid = empty(stored.type, self.rows * self.count, stored.k, device)
        self._kernels = kernels
        for which, matrix in enumerate(stored.matrices):
            blocks = torch.from_numpy(np.array(matrix))  # of a file that may not be written to
            put(self.laid, which * self.rows, stored.type, blocks.to(device))

    @property
    def floating(self) -> bool:
        return self.laid.type in FLOATS

    def pick(self, rows: Tensor) -> Tensor:
        planes = [plane[rows].flatten() for plane in self.laid.planes()]
        return self._floats(Laid(self.laid.type, len(rows), self.laid.k, torch.cat(planes)), 0, len(rows))

    def multiply(self, x: Tensor, which: int = 0) -> Tensor:
        first = which * self.rows
        if len(x) <= MOST_TOKENS:
            out = x.new_empty(len(x), self.rows)
            self._matvec(x, out, first, 1)
            return out
        step = max(1, TILE // self.laid.k)
        counts = [(begin, min(step, self.rows - begin)) for begin in range(0, self.rows, step)]
        return torch.cat([self._gemm(x, first + begin, count) for begin, count in counts], dim=1)

    def multiply_each(self, x: Tensor) -> Tensor:
        count, n, _ = x.shape
        if n > MOST_TOKENS:
            return torch.stack([self._gemm(part, which * self.rows, self.rows) for which, part in enumerate(x)])
        out = x.new_empty(n, count * self.rows)
        self._matvec(x.transpose(0, 1).flatten(0, 1).contiguous(), out, 0, count)
        return out.view(n, count, self.rows).transpose(0, 1)

    def _matvec(self, x: Tensor, out: Tensor, first: int, parts: int) -> None:
        """x [n * parts, k]."""
        if self.floating:
            self._kernels.float_matvec(self.laid, x.contiguous(), out, first, parts)
        else:
            self._kernels.matvec(self.laid, quantised(self._kernels, x), out, first, parts)

    def _gemm(self, x: Tensor, first: int, count: int) -> Tensor:
        tile = self._floats(self.laid, first, count, torch.float32 if self.floating else torch.bfloat16)
        return (x.to(tile.dtype) @ tile.T).float()

    def _floats(self, laid: Laid, first: int, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Rows of weights, [count, k]."""
        if laid.type in FLOATS:
            return laid.bytes.view(DTYPES[laid.type]).view(laid.rows, laid.k)[first : first + count].to(dtype)
        out = torch.empty(count, laid.k, dtype=dtype, device=laid.bytes.device)
        self._kernels.dequantise(laid, first, out)
        return out


class CudaProducts:
    def __init__(self, kernels: Kernels, device: torch.device) -> None:
        self._kernels = kernels
        self._device = device

    @property
    def device(self) -> torch.device:
        return self._device

    def matrices(self, stored: Stored) -> CudaMatrices:
        return CudaMatrices(stored, self._kernels, self._device)

    def block(self, block: Block, x: Tensor) -> Tensor:
        """A single expert that every token takes."""
        ids = torch.zeros(len(x), 1, dtype=torch.int32, device=x.device)
        return self.experts(block, x, ids, torch.ones(len(x), 1, device=x.device))

    def experts(self, block: Block, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """Stacks of floats, which no fused kernel takes, go one expert after the other, as torch's own do."""
        choice = Choice(ids.int().contiguous(), weights.contiguous())
        if any(stack.floating for stack in map(_of, filter(None, (block.gate, block.up, block.down)))):
            return one_by_one(block, x, ids, weights)
        return self._fused(block, x, choice) if len(x) <= MOST_TOKENS else self._grouped(block, x, choice)

    def _fused(self, block: Block, x: Tensor, choice: Choice) -> Tensor:
        """Two launches for all choices."""
        up = None if block.up is None else _of(block.up).laid
        first = GateUp(_of(block.gate).laid, up, block.activation, block.gate_bias, block.up_bias)
        inner = Activations.empty(choice.ids.numel(), block.gate.rows, x.device)
        self._kernels.gate_up(first, choice, quantised(self._kernels, x), inner)
        out = torch.empty_like(x)
        self._kernels.down(_of(block.down).laid, choice, inner, out, block.down_bias)
        return out

    def _grouped(self, block: Block, x: Tensor, choice: Choice) -> Tensor:
        """The choices by their experts, each expert's weights read once."""
        groups = grouped(choice.ids, _of(block.gate).count)
        which = choice.ids.flatten()[groups.order].long()
        narrow = x.bfloat16().contiguous()

        def product(stack: CudaMatrices, of: Tensor, bias: Tensor | None, gathered: bool) -> Tensor:
            out = x.new_empty(len(groups.order), stack.rows)
            self._kernels.grouped_gemm(stack.laid, stack.rows, of, groups, out, gathered)
            return out if bias is None else out + bias[which]

        gate = product(_of(block.gate), narrow, block.gate_bias, False)
        up = None if block.up is None else product(_of(block.up), narrow, block.up_bias, False)
        inner = activate(block.activation, gate, up).bfloat16()
        made = product(_of(block.down), inner, block.down_bias, True)
        in_order = torch.empty_like(made).index_copy_(0, groups.order, made).view(*choice.ids.shape, -1)
        return (in_order * choice.factors[..., None]).sum(1)


def quantised(kernels: Kernels, x: Tensor) -> Activations:
    to = Activations.empty(len(x), x.shape[1], x.device)
    kernels.quantise(x.contiguous(), to)
    return to


def _of(stack: Matrices) -> CudaMatrices:
    assert isinstance(stack, CudaMatrices), "these products made it"
    return stack
