"""The GPU's kernels on the CPU: the same sources, compiled by the host's C++ compiler over tests/engine_gpu/host.

Compiled kernels are kept in build/host_kernels by the text that they were made of.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ktd.engine.gpu.cuda_attention import CELLS
from ktd.engine.gpu.cuda_kernels import FLOATS, TOKENS
from ktd.engine.gpu.launcher import Argument, Grid
from ktd.engine.gpu.nvrtc import qualified
from ktd.engine.gpu.planes import PLANES
from ktd.engine.gpu.sources import source

LOOKS = ("576, 512, 1", "64, 64, 0", "80, 64, 1", "128, 128, 0", "256, 256, 0")  # key, value, latent
ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "tests" / "engine_gpu" / "host"
BUILT = ROOT / "build" / "host_kernels"
FLAGS = (
    "-std=c++20",
    "-O1",
    "-shared",
    "-fPIC",
    "-fno-gnu-unique",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-missing-field-initializers",
)
CHECKED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=vptr")


class HostLauncher:
    """Launches on CPU tensors. `checked`: with the address and undefined behaviour sanitizers, which the process must
    have been started with."""

    def __init__(self, processors: int = 2, checked: bool = False) -> None:
        self.processors = processors
        self._flags = (*FLAGS, *CHECKED) if checked else FLAGS
        self._entries: dict[tuple[str, str], Any] = {}

    def with_processors(self, processors: int) -> "HostLauncher":
        """A device of another size that runs the same kernels."""
        other = HostLauncher(processors)
        other._entries = self._entries
        return other

    def launch(self, family: str, kernel: str, grid: Grid, threads: int, *arguments: Argument) -> None:
        if (family, kernel) not in self._entries:
            self.prepare(family, [kernel])
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(a) for a in arguments))
        self._entries[family, kernel]((ctypes.c_uint * 3)(*grid), ctypes.c_uint(threads), pointers)

    def prepare(self, family: str, kernels: Sequence[str]) -> None:
        """Compile these at once, which takes far less time than one by one."""
        library = ctypes.CDLL(str(self._library(family, kernels)))
        for number, kernel in enumerate(kernels):
            self._entries[family, kernel] = getattr(library, f"launch_{number}")

    def prepare_all(self, kernels: Mapping[str, Sequence[str]]) -> None:
        """By family; two compilers at a time."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.prepare, kernels.keys(), kernels.values()))

    def _library(self, family: str, kernels: Sequence[str]) -> Path:
        text = source(family) + "".join(entry(number, kernel) for number, kernel in enumerate(kernels))
        parts = (self._flags, text, (SHIM / "host_simt.h").read_text())
        path = BUILT / f"{family}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.so"
        if not path.exists():
            BUILT.mkdir(parents=True, exist_ok=True)
            made = path.with_suffix(f".{os.getpid()}")
            command = [compiler(), *self._flags, f"-I{SHIM}", "-xc++", "-", "-o", str(made)]
            subprocess.run(command, input=text, text=True, check=True)
            made.rename(path)
        return path


def entry(number: int, kernel: str) -> str:
    """What ctypes can call: the kernel's own types say how to read its arguments."""
    return f"""
extern "C" void launch_{number}(const unsigned (&grid)[3], unsigned threads, void** arguments) {{
  ktd::host::launch({qualified(kernel)}, grid, threads, arguments);
}}
"""


def compiler() -> str:
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    assert found, "the engine was built by some compiler"
    return found


def every_kernel() -> dict[str, list[str]]:
    """By family: every type, every number of tokens that kernels are made for; attention as large models have it."""
    names = [type.name for type in PLANES if type not in FLOATS]
    return {
        "matvec": [f"matvec<{name}, {n}>" for name in names for n in TOKENS],
        "experts": [kernel for name in names for kernel in (f"gate_up<{name}, {name}>", f"down<{name}>")],
        "dequantise": [f"dequantise<{name}>" for name in names],
        "gemm": [f"grouped_gemm<{name}>" for name in names],
        "floats": [f"float_matvec<{type.name}, {n}>" for type in FLOATS for n in TOKENS],
        "elementwise": ["norm<>", "quantise<>", "activate<>"],
        "router": ["route<>"],
        "rotary": [f"turn<{cell}>" for cell in CELLS.values()],
        "attention": ["merge<>", *(f"attend<{cell}, {look}>" for cell in CELLS.values() for look in LOOKS)],
    }
