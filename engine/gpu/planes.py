"""Planes: how the blocks of every GGUF type lie in the memory of a GPU.

A file keeps a block's numbers together: 50 bytes of IQ1_S, 66 of IQ2_XXS, at any even address. Threads of a warp that
take neighbouring blocks would load from addresses that far apart. So a matrix is re-laid at upload: first one kind of
number of all its blocks, then the next (a plane each), widest first, so that every plane is aligned to its own words
and neighbouring threads load neighbouring words. Codes of less than a byte are laid anew too: wherever a type keeps
them, 32 weights of `bits` bits become 4 * bits bytes, and weight j * 4 * bits + b is field j of byte b. A register of
four bytes, shifted and masked, then holds four weights in a row.

No byte is lost or added: a matrix takes what it takes in the file, and `blocks_of` gives the file's bytes back. Only
TQ1_0, five ternary digits to a byte, is stored as TQ2_0, two bits a digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ktd.engine.gguf import TensorType

GROUP = 32  # weights that kernels take at once
SLICE = 64 << 20  # weights laid at once: bounds the scratch memory


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes of a block. Codes narrower than a byte: field j of byte b of a run is weight j * run + b of it."""

    at: int
    size: int
    bits: int = 8
    run: int = 1


@dataclass(frozen=True, slots=True)
class Plane:
    """Fields that lie together; with `parts` > 1, one part of each field after another."""

    fields: tuple[Field, ...]
    parts: int = 1

    @property
    def size(self) -> int:
        return sum(field.size for field in self.fields)


def plane(at: int, size: int, bits: int = 8, run: int = 1) -> Plane:
    return Plane((Field(at, size, bits, run),))


T = TensorType
PLANES: dict[TensorType, tuple[Plane, ...]] = {
    T.F32: (plane(0, 4),),
    T.F16: (plane(0, 2),),
    T.BF16: (plane(0, 2),),
    T.Q4_0: (plane(2, 16), plane(0, 2)),
    T.Q4_1: (plane(4, 16), plane(0, 4)),
    T.Q5_0: (plane(6, 16), plane(2, 4, 1, 1), plane(0, 2)),
    T.Q5_1: (plane(8, 16), plane(4, 4, 1, 1), plane(0, 4)),
    T.Q8_0: (plane(2, 32), plane(0, 2)),
    T.Q8_1: (plane(4, 32), plane(0, 4)),
    T.Q8_K: (plane(4, 256), plane(260, 32), plane(0, 4)),
    T.IQ4_NL: (plane(2, 16), plane(0, 2)),
    T.MXFP4: (plane(1, 16), plane(0, 1)),
    T.NVFP4: (plane(4, 32, 4, 8), plane(0, 4)),
    T.Q1_0: (plane(2, 16, 1, 1), plane(0, 2)),
    T.Q2_0: (plane(2, 16, 2, 1), plane(0, 2)),
    T.Q2_K: (plane(16, 64, 2, 32), plane(0, 16), plane(80, 4)),
    T.Q3_K: (plane(32, 64, 2, 32), plane(0, 32, 1, 32), plane(96, 12), plane(108, 2)),
    T.Q4_K: (plane(16, 128, 4, 32), plane(0, 16)),
    T.Q5_K: (plane(48, 128, 4, 32), plane(16, 32, 1, 32), plane(0, 16)),
    T.Q6_K: (plane(0, 128, 4, 64), plane(128, 64, 2, 32), plane(192, 16), plane(208, 2)),
    T.TQ2_0: (plane(0, 64, 2, 32), plane(64, 2)),
    T.IQ4_XS: (plane(8, 128), plane(0, 8)),
    T.IQ2_XXS: (plane(2, 64), plane(0, 2)),
    T.IQ2_XS: (plane(2, 64), plane(66, 8), plane(0, 2)),
    T.IQ2_S: (Plane((Field(2, 32), Field(34, 32)), 8), Plane((Field(66, 8), Field(74, 8)), 8), plane(0, 2)),
    T.IQ3_XXS: (plane(2, 64), plane(66, 32), plane(0, 2)),
    T.IQ3_S: (plane(2, 64), plane(74, 32), plane(66, 8), plane(106, 4), plane(0, 2)),
    T.IQ1_S: (plane(2, 32), plane(34, 16), plane(0, 2)),
    T.IQ1_M: (plane(0, 32), plane(32, 16), plane(48, 8)),
}


def laid_type(type: TensorType) -> TensorType:
    """As which type the weights of this one lie in memory."""
    return T.TQ2_0 if type is T.TQ1_0 else type


def laid_bytes(type: TensorType, weights: int) -> int:
    return laid_type(type).size(weights)


@dataclass(frozen=True, slots=True)
class Laid:
    """A matrix, or a stack of matrices with their rows one after another, in planes on one device."""

    type: TensorType  # never TQ1_0
    rows: int
    k: int  # weights of a row
    bytes: Tensor  # uint8, one plane after another

    @property
    def blocks(self) -> int:
        return self.rows * (self.k // self.type.block)

    def planes(self) -> tuple[Tensor, ...]:
        """A view [rows, bytes of a row] per plane; rows copied in all of them are the same weights elsewhere."""
        sizes = [self.blocks * plane.size for plane in PLANES[self.type]]
        return tuple(part.view(self.rows, -1) for part in torch.split(self.bytes, sizes))


def empty(type: TensorType, rows: int, k: int, device: torch.device | str = "cpu") -> Laid:
    """Room for `rows` rows of `k` weights; k is a multiple of the type's block."""
    type = laid_type(type)
    assert k % type.block == 0, f"rows of {k} weights are not whole blocks of {type.name}"
    return Laid(type, rows, k, torch.empty(type.size(rows * k), dtype=torch.uint8, device=device))


def put(laid: Laid, first: int, type: TensorType, blocks: Tensor) -> None:
    """Lay rows as a file of this type keeps them, uint8 [rows, bytes of a row] on the same device, from `first` on."""
    rows = len(blocks)
    step = max(1, SLICE // laid.k)
    for begin in range(0, rows, step):
        part = blocks[begin : begin + step].reshape(-1, type.bytes)
        planes = split(laid.type, ternary_pairs(part) if type is T.TQ1_0 else part)
        to = first + begin
        for target, source in zip(laid.planes(), planes, strict=True):
            target[to : to + min(step, rows - begin)] = source.reshape(-1, target.shape[1])


def lay(type: TensorType, blocks: Tensor) -> Laid:
    """A matrix from uint8 [rows, bytes of a row], on the device of the blocks."""
    laid = empty(type, len(blocks), blocks.shape[1] // type.bytes * type.block, blocks.device)
    put(laid, 0, type, blocks)
    return laid


def blocks_of(laid: Laid) -> Tensor:
    """uint8 [rows, bytes of a row] as a file keeps them."""
    count = laid.k // laid.type.block
    planes = [part.reshape(laid.rows * count, -1) for part in laid.planes()]
    return join(laid.type, planes).view(laid.rows, -1)


def split(type: TensorType, blocks: Tensor) -> Iterator[Tensor]:
    """[n, bytes of a block] to a tensor [n, bytes] per plane."""
    for plane in PLANES[type]:
        fields = [repacked(blocks[:, f.at : f.at + f.size], f.bits, f.run, 4 * f.bits) for f in plane.fields]
        parts = [field.reshape(len(blocks), plane.parts, -1) for field in fields]
        yield torch.cat(parts, dim=2).view(len(blocks), -1)


def join(type: TensorType, planes: list[Tensor]) -> Tensor:
    """The inverse of `split`."""
    n = len(planes[0])
    blocks = torch.empty((n, type.bytes), dtype=torch.uint8, device=planes[0].device)
    for plane, laid in zip(PLANES[type], planes, strict=True):
        sizes = [field.size // plane.parts for field in plane.fields]
        for field, part in zip(plane.fields, torch.split(laid.view(n, plane.parts, -1), sizes, dim=2), strict=True):
            stored = repacked(part.reshape(n, -1), field.bits, 4 * field.bits, field.run)
            blocks[:, field.at : field.at + field.size] = stored
    return blocks


def repacked(packed: Tensor, bits: int, run: int, new_run: int) -> Tensor:
    """[n, bytes] of codes in runs of `run` bytes, in runs of `new_run` bytes."""
    return packed if bits == 8 or run == new_run else gathered(spread(packed, bits, run), bits, new_run)


def spread(packed: Tensor, bits: int, run: int) -> Tensor:
    """[n, bytes] to one code per byte, [n, weights]."""
    runs = packed.reshape(len(packed), -1, 1, run)
    fields = [runs >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)]
    return torch.cat(fields, dim=2).reshape(len(packed), -1)


def gathered(codes: Tensor, bits: int, run: int) -> Tensor:
    """The inverse of `spread`."""
    fields = codes.reshape(len(codes), -1, 8 // bits, run)
    packed = fields[:, :, 0].clone()
    for j in range(1, 8 // bits):
        packed |= fields[:, :, j] << bits * j
    return packed.view(len(codes), -1)


def ternary_pairs(blocks: Tensor) -> Tensor:
    """Blocks of TQ1_0, [n, 54], as blocks of TQ2_0, [n, 66].

    A byte is ceil(256 n / 243) for the base-3 number n: times a power of three, the digits before are out at the top.
    """
    runs = [(blocks[:, :32], 5), (blocks[:, 32:48], 5), (blocks[:, 48:52], 4)]
    digits = [((run * 3**place).to(torch.int32) * 3 >> 8).to(torch.uint8) for run, n in runs for place in range(n)]
    return torch.cat([gathered(torch.cat(digits, dim=1), 2, 32), blocks[:, 52:]], dim=1)
