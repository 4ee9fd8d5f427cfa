"""Bytes per second of every GPU kernel against what the device copies in the same run.

    python tests/bench/gpu_kernels.py                        shapes of DeepSeek-V3, the types of its usual files
    python tests/bench/gpu_kernels.py --types Q4_K IQ1_S --tokens 1 8 --context 2048 32768

Each line is a kernel: microseconds per launch, GB/s of what it must read at least (weights, or cache rows), and the
percentage of the copy's GB/s. Launches are captured in a graph, over enough copies of the weights that nothing comes
from the L2 cache; the time is the fastest of several replays. Needs a CUDA device; there is nothing to say without one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ktd.engine.gguf import TensorType
from ktd.engine.gpu import planes
from ktd.engine.gpu.cuda_attention import AttentionKernels, Look, Places
from ktd.engine.gpu.cuda_kernels import FLOATS, MOST_TOKENS, Activations, Choice, GateUp, Kernels
from ktd.engine.gpu.grouping import grouped

MATRICES = {"q_a": (1536, 7168), "q_b": (24576, 1536), "kv_a": (576, 7168), "o": (7168, 16384)}  # rows, k
MATRICES |= {"shared gate": (2048, 7168), "shared down": (7168, 2048), "head": (129280, 7168)}
EXPERTS, USED, DIM, WIDTH, HEADS, LATENT, ROPE = 256, 8, 7168, 2048, 128, 512, 64
PAGE = 64
REPLAYS = 20


@dataclass(frozen=True, slots=True)
class Bench:
    device: torch.device
    kernels: Kernels
    attention: AttentionKernels
    copies: int  # bytes that together do not fit the L2 cache

    def seconds(self, run: Callable[[int], None], turns: int) -> float:
        """Of one of `turns` different launches: run(i), all in one graph."""
        for turn in range(turns):
            run(turn)  # compiles
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for turn in range(turns):
                run(turn)
        times = []
        for _ in range(REPLAYS):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            graph.replay()
            end.record()
            torch.cuda.synchronize(self.device)
            times.append(begin.elapsed_time(end) / 1000)
        return min(times) / turns

    def turns(self, bytes: int) -> int:
        return max(2, -(-self.copies // bytes))

    def matrix(self, type: TensorType, rows: int, k: int) -> planes.Laid:
        """Weights of any bits: their values change no time, and nothing here looks at them."""
        laid = planes.empty(type, rows, k, self.device)
        laid.bytes.random_(0, 256)
        return laid

    def activations(self, n: int, k: int) -> Activations:
        made = Activations.empty(n, k, self.device)
        self.kernels.quantise(torch.randn(n, k, device=self.device), made)
        return made

    # --- one method per line ---

    def copy(self) -> float:
        """GB/s of a copy, what is read and what is written."""
        source = torch.empty(2 << 30, dtype=torch.uint8, device=self.device)
        to = torch.empty_like(source)
        return 2 * len(source) / self.seconds(lambda turn: to.copy_(source), 2) / 1e9

    def matvec(self, type: TensorType, rows: int, k: int, n: int) -> tuple[float, int]:
        bytes = planes.laid_bytes(type, rows * k)
        stack = [self.matrix(type, rows, k) for _ in range(self.turns(bytes))]
        x, out = self.activations(n, k), torch.empty(n, rows, device=self.device)
        return self.seconds(lambda turn: self.kernels.matvec(stack[turn], x, out), len(stack)), bytes

    def experts(self, type: TensorType, n: int) -> list[tuple[str, float, int]]:
        """Different experts for every token; a token's share of the stack is read once."""
        gate, up = self.matrix(type, EXPERTS * WIDTH, DIM), self.matrix(type, EXPERTS * WIDTH, DIM)
        down = self.matrix(type, EXPERTS * DIM, WIDTH)
        x, made = self.activations(n, DIM), Activations.empty(n * USED, WIDTH, self.device)
        out, block = torch.empty(n, DIM, device=self.device), GateUp(gate, up, "silu")
        shuffled = torch.randperm(EXPERTS, device=self.device).int()
        turns = EXPERTS // (n * USED)
        factors = torch.ones(n, USED, device=self.device)
        choices = [Choice(part.view(n, USED), factors) for part in shuffled.split(n * USED)[:turns]]
        bytes = planes.laid_bytes(type, n * USED * WIDTH * DIM)
        first = self.seconds(lambda turn: self.kernels.gate_up(block, choices[turn], x, made), turns)
        second = self.seconds(lambda turn: self.kernels.down(down, choices[turn], made, out), turns)
        return [("gate_up", first, 2 * bytes), ("down", second, bytes)]

    def grouped(self, type: TensorType, n: int) -> tuple[float, int]:
        """Floating point operations rather than bytes: the second is those."""
        w = self.matrix(type, EXPERTS * WIDTH, DIM)
        ids = torch.rand(n, EXPERTS, device=self.device).topk(USED).indices.int()
        grouping = grouped(ids, EXPERTS)
        x = torch.randn(n, DIM, device=self.device, dtype=torch.bfloat16)
        out = torch.empty(n * USED, WIDTH, device=self.device)
        run = lambda turn: self.kernels.grouped_gemm(w, WIDTH, x, grouping, out, gathered=False)  # noqa: E731
        return self.seconds(run, 2), 2 * n * USED * WIDTH * DIM

    def latent(self, context: int, n: int) -> tuple[float, int]:
        """Every sequence has its own pages; the cache is read once per 16 heads, of which the L2 cache serves most."""
        columns = -(-context // PAGE)
        pages = torch.randperm(n * columns, device=self.device).view(n, columns).int()
        positions = torch.full((n,), context - 1, dtype=torch.int32, device=self.device)
        where = Places(positions, torch.arange(n, dtype=torch.int32, device=self.device), pages, PAGE)
        cache = torch.randn(n * columns * PAGE, LATENT + ROPE, device=self.device).to(torch.bfloat16)
        q = torch.randn(n, HEADS, LATENT + ROPE, device=self.device)
        out, look = torch.empty(n, HEADS, LATENT, device=self.device), Look(1, LATENT + ROPE, LATENT, True, 0.1352)
        run = lambda turn: self.attention.attend(q, cache, look, where, out, context)  # noqa: E731
        return self.seconds(run, 4), cache.numel() * 2


def line(name: str, seconds: float, amount: int, roof: float) -> None:
    rate = amount / seconds / 1e9
    print(f"{name:44} {seconds * 1e6:10.1f} us {rate:9.0f} GB/s {100 * rate / roof:6.1f} %", flush=True)


def main() -> None:
    options = arguments(sys.argv[1:])
    if not torch.cuda.is_available():
        sys.exit("gpu_kernels.py measures a CUDA device, and torch sees none here: nothing was measured")
    from ktd.engine.gpu.launcher import CudaLauncher

    device = torch.device("cuda", options.device)
    torch.cuda.set_device(device)
    launcher = CudaLauncher(device)
    cached = torch.cuda.get_device_properties(device).L2_cache_size
    bench = Bench(device, Kernels(launcher), AttentionKernels(launcher), 4 * cached)
    roof = bench.copy()
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}: copies {roof:.0f} GB/s (100 %)")
    report(bench, options, roof)


def report(bench: Bench, options: argparse.Namespace, roof: float) -> None:
    for type in (TensorType[name] for name in options.types):
        for n in options.tokens:
            for name, (rows, k) in MATRICES.items():
                line(f"matvec {type.name} {name} x{n}", *bench.matvec(type, rows, k, n), roof)
            for name, seconds, bytes in bench.experts(type, n):
                line(f"{name} {type.name} {USED} of {EXPERTS} x{n}", seconds, bytes, roof)
        seconds, operations = bench.grouped(type, options.prompt)
        name, rate = f"grouped_gemm {type.name} x{options.prompt}", operations / seconds / 1e12
        print(f"{name:44} {seconds * 1e6:10.1f} us {rate:9.0f} Tflop/s", flush=True)
    for context in options.context:
        for n in options.tokens:
            line(f"attend latent {context} x{n}", *bench.latent(context, n), roof)


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [type.name for type in planes.PLANES if type not in FLOATS]
    types = ["IQ1_S", "IQ2_XXS", "Q2_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"]
    parser.add_argument("--types", nargs="+", choices=names, default=types, metavar="TYPE")
    parser.add_argument("--tokens", nargs="+", type=int, choices=range(1, MOST_TOKENS + 1), default=[1, 2, 4, 8])
    parser.add_argument("--context", nargs="+", type=int, default=[2048, 32768])
    parser.add_argument("--prompt", type=int, default=4096, help="tokens of the grouped product")
    parser.add_argument("--device", type=int, default=0)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
