"""Stored: weights as a GGUF file keeps them, whatever tensor they are a part of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ktd.engine import _core
from ktd.engine.executor import Progress
from ktd.engine.gguf import Gguf, TensorType
from ktd.engine.spec import Stack, Weight

Bytes = NDArray[np.uint8]
FLOATS = (TensorType.F32, TensorType.F16, TensorType.BF16)
BLOCK = 32  # values that share a scale in Q8_0, and activations that do
TINY = np.float32(2.0**-100)  # a block of nothing larger is zero


@dataclass(frozen=True, slots=True)
class Stored:
    """Matrices of one type and shape: one for a plain weight, one for each expert or head of a stack.

    They are views of the mapped file: nothing is read until they are used.
    """

    type: TensorType
    k: int  # weights of a row
    matrices: tuple[Bytes, ...]  # each [rows, bytes of a row]

    @property
    def rows(self) -> int:
        return len(self.matrices[0])

    def floats(self, which: int = 0, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """`count` rows of a matrix from `first` on, [count, k], by the scalar reference."""
        rows = self.matrices[which][first : None if count is None else first + count]
        return _core.dequantize(int(self.type), np.ascontiguousarray(rows).reshape(-1)).reshape(len(rows), self.k)

    def heads(self, count: int, first: int, rows: int) -> "Stored":
        """Of a matrix that keeps the same number of rows for each head, in turn: `rows` of every head from `first`."""
        whole = self.matrices[0].reshape(count, -1, self.matrices[0].shape[1])
        return Stored(self.type, self.k, tuple(whole[:, first : first + rows]))

    def turned(self) -> "Stored":
        """Rows and columns of every matrix exchanged, as the CPU runtime does it.

        Floats stay what they are; quantised weights become Q8_0, or F16 where columns are not whole blocks.
        """
        type = self.type if self.type in FLOATS else TensorType.Q8_0 if self.rows % BLOCK == 0 else TensorType.F16
        columns = (np.ascontiguousarray(self.floats(which).T) for which in range(len(self.matrices)))
        return Stored(type, self.rows, tuple(_bytes(type, values) for values in columns))


def _bytes(type: TensorType, values: NDArray[np.float32]) -> Bytes:
    """Rows of values [rows, k] as this type keeps them."""
    match type:
        case TensorType.F32:
            return values.view(np.uint8)
        case TensorType.F16:
            return values.astype(np.float16).view(np.uint8)
        case TensorType.BF16:  # they came from one: nothing is lost
            return np.ascontiguousarray(values.view(np.uint16)[:, 1::2]).view(np.uint8)
        case _:
            return _q8_0(values)


def _q8_0(values: NDArray[np.float32]) -> Bytes:
    blocks = values.reshape(len(values), -1, BLOCK)
    most = np.abs(blocks).max(axis=2, keepdims=True)
    integers = np.rint(blocks * (127 / np.maximum(most, TINY))).astype(np.int8)
    scales = (most / 127).astype(np.float16)
    return np.concatenate((scales.view(np.uint8), integers.view(np.uint8)), axis=2).reshape(len(values), -1)


@dataclass(slots=True)
class Tally:
    """Bytes of weights that were brought to where they are used; told as they are."""

    done: int
    total: int
    progress: Progress

    def add(self, bytes: int) -> None:
        self.done = min(self.done + bytes, self.total)  # of a tensor that is wanted twice
        self.progress(self.done, self.total)


class StoredWeights:
    """The weights of an open file, by what a spec calls them."""

    def __init__(self, gguf: Gguf, tally: Tally) -> None:
        self._gguf = gguf
        self._tally = tally

    def matrices(self, weight: Weight | Stack) -> Stored:
        """All matrices of a weight; of a stack of tensors, those of each."""
        if isinstance(weight, Weight):
            return self._of_tensor(weight)
        parts = [self._of_tensor(part) for part in weight.parts]
        return Stored(parts[0].type, parts[0].k, tuple(part.matrices[0] for part in parts))

    def floats(self, weight: Weight) -> NDArray[np.float32]:
        """A norm, a bias, or a bias for each expert: in numpy's order, the contiguous dimension last."""
        stored = self._of_tensor(weight)
        return np.concatenate([stored.floats(i) for i in range(len(stored.matrices))]).reshape(weight.shape[::-1])

    def _of_tensor(self, weight: Weight) -> Stored:
        tensor = self._gguf.tensors[weight.name]
        k, rows, count = (*weight.stored, 1, 1)[:3]
        blocks = np.frombuffer(self._gguf.data(weight.name), np.uint8).reshape(count, rows, -1)
        used = weight.shape[1] if len(weight.shape) > 1 else 1
        self._tally.add(count * used * blocks.shape[2])
        return Stored(tensor.type, k, tuple(blocks[:, weight.first : weight.first + used]))
