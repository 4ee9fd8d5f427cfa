"""Run kernels with the address and undefined behaviour sanitizers; ends with an error at the first wrong access.

Started by test_sanitizers.py, with the sanitizers loaded before anything else. Buffers are exactly as large as what
they hold, so that a read behind a row, a plane or a page is one outside of a buffer.
"""

import sys

import torch
from host_kernels import HostLauncher, every_kernel

from ktd.engine.gguf import TensorType
from ktd.engine.gpu.cuda_attention import AttentionKernels, Look, Places, Turning
from ktd.engine.gpu.cuda_kernels import Activations, Choice, GateUp, Kernels
from ktd.engine.gpu.grouping import grouped
from ktd.engine.gpu.planes import Laid, lay

TYPES = ("Q3_K", "IQ1_S")  # planes of every kind of word, and a table
EXPERTS, WIDTH, N = 3, 32, 3


def zeros(type: TensorType, rows: int, k: int) -> Laid:
    return lay(type, torch.zeros(rows, type.size(k), dtype=torch.uint8))


def products(kernels: Kernels, type: TensorType) -> None:
    k = max(64, type.block)
    w, last = zeros(type, EXPERTS * WIDTH, k), zeros(type, EXPERTS * 9, k)
    x, wide = Activations.empty(N, k), Activations.empty(2 * N, k)
    kernels.quantise(torch.randn(N, k), x)
    kernels.quantise(torch.randn(2 * N, k), wide)
    kernels.matvec(w, x, torch.empty(N, 5), first=EXPERTS * WIDTH - 5)
    choice = Choice(torch.tensor([[2, 0]] * N, dtype=torch.int32), torch.ones(N, 2))
    kernels.gate_up(GateUp(w, w, "silu"), choice, x, Activations.empty(2 * N, WIDTH))
    kernels.down(last, choice, wide, torch.empty(N, 9))
    kernels.dequantise(w, 1, torch.empty(EXPERTS * WIDTH - 1, k))
    inputs, grouping = torch.randn(N, k).to(torch.bfloat16), grouped(choice.ids, EXPERTS)
    kernels.grouped_gemm(last, 9, inputs, grouping, torch.empty(2 * N, 9), gathered=False)


def attention(kernels: AttentionKernels, look: Look, heads: int, cell: torch.dtype) -> None:
    pages = torch.tensor([[2, 1], [0, 3]], dtype=torch.int32)
    where = Places(torch.tensor([20, 31], dtype=torch.int32), torch.tensor([0, 1], dtype=torch.int32), pages, 16)
    width = look.key if look.latent else look.kv_heads * (look.key + look.value)
    cache = torch.zeros(64, width, dtype=cell)
    turning = Turning(torch.ones(look.key // 2), True)
    kernels.turn(torch.randn(2, look.kv_heads * look.key), look.kv_heads, turning, where, cache)
    kernels.attend(torch.randn(2, heads, look.key), cache, look, where, torch.empty(2, heads, look.value), 32)


def main(families: list[str]) -> None:
    launcher = HostLauncher(checked=True)
    if "products" in families:
        for family in ("matvec", "experts", "dequantise", "gemm"):
            used = [kernel for kernel in every_kernel()[family] if any(f"<{name}" in kernel for name in TYPES)]
            launcher.prepare(family, [kernel for kernel in used if family != "matvec" or kernel.endswith(" 4>")])
        for name in TYPES:
            products(Kernels(launcher), TensorType[name])
    if "attention" in families:
        attention(AttentionKernels(launcher), Look(1, 80, 64, True, 1.0), 5, torch.bfloat16)
        attention(AttentionKernels(launcher), Look(2, 64, 64, False, 1.0), 6, torch.float32)
    if "wrong" in families:  # the watch itself: a matrix that is a row short
        w, x = zeros(TensorType.Q8_0, 4, 64), Activations.empty(1, 64)
        kernels = Kernels(launcher)
        kernels.quantise(torch.randn(1, 64), x)
        kernels.matvec(Laid(w.type, 5, 64, w.bytes), x, torch.empty(1, 5))


if __name__ == "__main__":
    main(sys.argv[1:])
