"""Launcher: runs one kernel on a grid of blocks. The seam below which a GPU and the tests' host harness differ."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Protocol

import torch
from cuda.core import Device, Kernel, LaunchConfig, launch
from torch import Tensor

from ktd.engine.gpu.nvrtc import Compiler

Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_int64 | ctypes.c_float
Grid = tuple[int, int, int]


class Launcher(Protocol):
    @property
    def processors(self) -> int:
        """Multiprocessors, each of which runs several blocks at a time."""

    def launch(self, family: str, kernel: str, grid: Grid, threads: int, *arguments: Argument) -> None:
        """Run `kernel` of kernels/<family>.cuh, a template with its arguments ("matvec<Q4_K, 1>"), with `threads`
        threads per block; arguments are those of the kernel, of the same types and in the same order."""


def pointer(tensor: Tensor | None, strided: bool = False) -> ctypes.c_void_p:
    """To a tensor's first element; None is a null pointer. `strided`: the kernel is told the distance of rows."""
    if tensor is None:
        return ctypes.c_void_p()
    assert strided or tensor.is_contiguous(), "kernels take contiguous tensors"
    return ctypes.c_void_p(tensor.data_ptr())


class TorchStream:
    """The stream that torch's own operations go to now, also while it captures a graph."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, torch.cuda.current_stream(self._device).cuda_stream


class CudaLauncher:
    """Kernels are compiled when they are first launched; that must be before a graph is captured."""

    def __init__(self, device: torch.device, cache: Path | None = None) -> None:
        """`cache`: where machine code is kept; the user's cache folder without it."""
        properties = torch.cuda.get_device_properties(device)
        self.processors = properties.multi_processor_count
        self._device = Device(device.index or 0)
        self._stream = TorchStream(device)
        self._compiler = Compiler(architecture(properties.major, properties.minor), cache or cache_folder())
        self._kernels: dict[tuple[str, str], Kernel] = {}

    def launch(self, family: str, kernel: str, grid: Grid, threads: int, *arguments: Argument) -> None:
        self._device.set_current()
        found = self._kernels.get((family, kernel)) or self._load(family, kernel)
        launch(self._stream, LaunchConfig(grid=grid, block=threads), found, *arguments)

    def _load(self, family: str, kernel: str) -> Kernel:
        loaded = self._compiler.image(family, [kernel]).code().get_kernel(kernel)
        self._kernels[family, kernel] = loaded
        return loaded


def architecture(major: int, minor: int) -> str:
    """As NVRTC names it. Hopper and later have instructions of their own only under the name with an a."""
    return f"sm_{major}{minor}" + ("a" if major >= 9 else "")


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/ktd/kernels."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ktd" / "kernels"
