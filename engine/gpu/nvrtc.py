"""Kernels compiled by NVRTC, which comes with torch's wheels, for one architecture; kept on disk.

Nothing here needs a GPU: NVRTC turns C++ into the machine code of an architecture that need not be there.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
from cuda.bindings import nvrtc
from cuda.core import ObjectCode, Program, ProgramOptions

from ktd.engine.gpu.sources import source

STANDARD = "c++20"
FORMAT = 1  # of a file of the cache


class CompileError(Exception):
    """A kernel does not compile: a mistake of ours, or an NVRTC that is too old. Has the compiler's own words."""


class Image(msgspec.Struct, frozen=True):
    """Machine code of some kernels of a family, and the symbols they have in it."""

    cubin: bytes
    symbols: dict[str, str]  # by C++ name, without the namespace: "matvec<Q4_K, 1>"
    log: str  # what the assembler tells of registers, spills and shared memory

    def code(self) -> ObjectCode:
        return ObjectCode.from_cubin(self.cubin, symbol_mapping=self.symbols)


@dataclass(frozen=True, slots=True)
class Compiler:
    """For an architecture as NVRTC names it: sm_80, sm_89, sm_90a..."""

    arch: str
    cache: Path | None = None  # a folder; None: nothing is kept

    def image(self, family: str, kernels: Sequence[str]) -> Image:
        """These kernels of `kernels/<family>.cuh`, from the disk when they were compiled before."""
        if self.cache is None:
            return self._compiled(family, kernels)
        path = self.cache / f"{family}-{self.key(family, kernels)}.kernels"
        kept = read(path)
        if kept is not None:
            return kept
        image = self._compiled(family, kernels)
        write(path, image)
        return image

    def key(self, family: str, kernels: Sequence[str]) -> str:
        """Differs whenever the machine code could."""
        parts = (FORMAT, STANDARD, self.arch, version(), sorted(kernels), source(family))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def _compiled(self, family: str, kernels: Sequence[str]) -> Image:
        options = ProgramOptions(name=family, arch=self.arch, std=STANDARD, ptxas_options="-v")
        log = io.StringIO()
        expressions = tuple(qualified(kernel) for kernel in kernels)
        try:
            program = Program(source(family), "c++", options)
            code = program.compile("cubin", name_expressions=expressions, logs=log)
        except Exception as error:  # whatever its class: the text is what there is to tell
            text = f"{family}.cuh does not compile for {self.arch}:\n{error}\n{log.getvalue()}"
            raise CompileError(text.strip("\0 \n")) from error
        symbols = {kernel: symbol_of(code, qualified(kernel)) for kernel in kernels}
        return Image(bytes(code.code), symbols, facts(log.getvalue()))


def qualified(kernel: str) -> str:
    """The name of a kernel outside its namespace: "matvec<Q4_K, 1>" is "ktd::matvec<ktd::Q4_K, 1>"."""
    name, _, arguments = kernel.removesuffix(">").partition("<")
    inner = [a if not a or a.isdigit() else f"ktd::{a}" for a in arguments.split(", ")]
    return f"ktd::{name}<{', '.join(inner)}>"


def symbol_of(code: ObjectCode, expression: str) -> str:
    symbol = code.symbol_mapping[expression]
    return symbol.decode() if isinstance(symbol, bytes) else symbol


def facts(log: str) -> str:
    """What the assembler says of the code, without how long it took."""
    return "\n".join(line for line in log.strip("\0 \n").splitlines() if "Compile time" not in line)


def version() -> tuple[int, int]:
    error, major, minor = nvrtc.nvrtcVersion()
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompileError(f"NVRTC does not tell its version: {error}")
    return major, minor


def read(path: Path) -> Image | None:
    """A kept image; one that cannot be read counts as not kept."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Image)
    except (OSError, msgspec.DecodeError):
        return None


def write(path: Path, image: Image) -> None:
    """Whole or not at all, whoever else writes the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(msgspec.msgpack.encode(image))
    os.replace(file.name, path)
