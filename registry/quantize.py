"""Quantize: a GGUF model of floats written anew as one file with smaller blocks.

The K-quants are `kquants.py`'s own, the other types those of the `gguf` package.
"""

import hashlib
import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ktd.engine.gguf import Gguf, GGUFError, Tensor, TensorType
from ktd.registry.errors import CreateRefused
from ktd.registry.recipes import Recipe
from ktd.registry.reference import Meter, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOATS = (TensorType.F32, TensorType.F16, TensorType.BF16)
DROPPED = ("general.file_type", "general.alignment", "split.no", "split.count", "split.tensors.count")
ALIGNMENT = 32
PART = 1 << 18  # weights converted at a time: a thread's arrays stay near its core
UINT32 = 4


class Output:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.position = 0
        self._file = file
        self._sha = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._sha.update(data)
        self._file.write(data)
        self.position += len(data)

    def align(self) -> None:
        self.write(bytes(-self.position % ALIGNMENT))

    def finish(self) -> str:
        """The digest of what is durably written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return f"sha256:{self._sha.hexdigest()}"


def quantize(sources: Sequence[Path], target: Path, recipe: Recipe, progress: Progress) -> str:
    """Write `target` with the weights of a model's files, shards in order; returns its digest.

    `progress` is told how many bytes of how many are written; what it raises ends the work. Raises `CreateRefused`.
    """
    threads = len(os.sched_getaffinity(0))
    try:
        with Gguf.open(sources) as gguf, open(target, "wb") as file:
            planned = _planned(gguf, recipe)
            output = Output(file)
            _write_header(output, gguf, planned, recipe.file_type)
            _write_weights(output, gguf, planned, threads, progress)
            return output.finish()
    except GGUFError as error:
        raise CreateRefused(str(error)) from error


def _write_weights(
    output: Output, gguf: Gguf, planned: dict[str, TensorType], threads: int, progress: Progress
) -> None:
    tensors = gguf.tensors.values()
    meter = Meter(sum(planned[tensor.name].size(tensor.weights) for tensor in tensors), progress)
    with ThreadPoolExecutor(threads, "quantize") as pool:
        for tensor in tensors:
            for part in _converted(gguf, tensor, planned[tensor.name], pool, 2 * threads):
                output.write(part)
                meter.advance(len(part))
            output.align()


def _planned(gguf: Gguf, recipe: Recipe) -> dict[str, TensorType]:
    tensors = gguf.tensors.values()
    if not {tensor.type for tensor in tensors if len(tensor.shape) > 1} <= set(FLOATS):
        raise CreateRefused("quantization is only supported for F16, BF16 and F32 models")
    layers = gguf.metadata.integer(f"{gguf.architecture}.block_count", 0)
    tied = "output.weight" not in gguf.tensors
    return {tensor.name: recipe.type_for(tensor, layers, tied) for tensor in tensors}


def _write_header(output: Output, gguf: Gguf, planned: dict[str, TensorType], kind: int) -> None:
    """The keys as they were, byte for byte, but for those about the file itself."""
    entries = [entry for key, entry in _entries(gguf) if key not in DROPPED]
    entries.append(_string("general.file_type") + struct.pack("<II", UINT32, kind))
    output.write(b"GGUF" + struct.pack("<IQQ", 3, len(planned), len(entries)) + b"".join(entries))
    offset = 0
    for tensor in gguf.tensors.values():
        type = planned[tensor.name]
        output.write(_string(tensor.name) + struct.pack("<I", len(tensor.shape)))
        output.write(struct.pack(f"<{len(tensor.shape)}q", *tensor.shape) + struct.pack("<IQ", type.value, offset))
        offset += -(-type.size(tensor.weights) // ALIGNMENT) * ALIGNMENT
    output.align()


def _entries(gguf: Gguf) -> Iterator[tuple[str, bytes]]:
    with open(gguf.paths[0], "rb") as file:
        for key, (start, end) in gguf.spans.items():
            file.seek(start)
            yield key, file.read(end - start)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _converted(
    gguf: Gguf, tensor: Tensor, type: TensorType, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[bytes | memoryview]:
    """The tensor's bytes in another type, some rows at a time; no more than `ahead` parts are in memory."""
    data = gguf.data(tensor.name)
    row = tensor.type.size(tensor.shape[0])
    step = max(1, PART // tensor.shape[0]) * row
    parts = (data[start : start + step] for start in range(0, len(data), step))
    if type is tensor.type:
        yield from parts
        return
    made: deque[Future[bytes]] = deque()
    for part in parts:
        made.append(pool.submit(_part, part, tensor.type, row, type))
        if len(made) > ahead:
            yield made.popleft().result()
    while made:
        yield made.popleft().result()


def _part(data: memoryview, type: TensorType, row: int, wanted: TensorType) -> bytes:
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    from ktd.registry import kquants

    rows: NDArray[np.uint8] = np.frombuffer(data, np.uint8).reshape(-1, row)
    floats = quants.dequantize(rows, GGMLQuantizationType(type.value))
    if wanted in kquants.MAKERS:
        return kquants.quantize(floats, wanted).tobytes()
    return quants.quantize(floats, GGMLQuantizationType(wanted.value)).tobytes()
