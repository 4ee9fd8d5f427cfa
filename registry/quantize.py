"""Quantize: a GGUF file of floats written anew with smaller blocks. The numbers are gguf's own.

What llama.cpp leaves alone stays as it is: norms, biases, routers, and rows that are no multiple of a block.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ktd.engine.gguf import Gguf, GGUFError, Tensor, TensorType
from ktd.registry.errors import CreateRefused

FLOATS = (TensorType.F32, TensorType.F16, TensorType.BF16)
TARGETS = {"Q8_0": 7, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "BF16": 32, "F16": 1, "F32": 0}  # general.file_type
KEPT = ("ffn_gate_inp", "_norm", "position_embd", "token_types", "ssm_conv1d")
FINE = ("output.weight", "token_embd.weight")  # small blocks cost an answer most here
ALIGNMENT = 32
ROWS = 1 << 12  # converted at a time
UINT32, STRING = 4, 8

Advance = Callable[[int], None]  # bytes written


def target_named(text: str) -> TensorType:
    """Raises `CreateRefused` for a type that is not made here."""
    name = text.upper()
    if name not in TARGETS:
        raise CreateRefused(f"unsupported quantization type {text:.40}: this version makes {', '.join(TARGETS)}")
    return TensorType[name]


def quantize(source: Path, target: Path, type: TensorType, advance: Advance) -> None:
    """Write `target` with the weights of `source`. Raises `CreateRefused`."""
    try:
        with Gguf.open(source) as gguf, open(target, "wb") as file:
            if len(gguf.paths) > 1:
                raise CreateRefused("a model in several files cannot be quantized; join them first")
            heavy = {tensor.type for tensor in gguf.tensors.values() if len(tensor.shape) > 1}
            if not heavy <= set(FLOATS):
                raise CreateRefused("quantization is only supported for F16, BF16 and F32 models")
            planned = {tensor.name: _type_for(tensor, type) for tensor in gguf.tensors.values()}
            _write_header(file, source, gguf, planned, TARGETS[type.name])
            for tensor in gguf.tensors.values():
                for part in _converted(gguf, tensor, planned[tensor.name]):
                    file.write(part)
                file.write(bytes(-file.tell() % ALIGNMENT))
                advance(file.tell())
            file.flush()
            os.fsync(file.fileno())
    except GGUFError as error:
        raise CreateRefused(str(error)) from error


def _type_for(tensor: Tensor, wanted: TensorType) -> TensorType:
    kept = len(tensor.shape) < 2 or not tensor.name.endswith("weight") or any(part in tensor.name for part in KEPT)
    type = TensorType.Q8_0 if tensor.name in FINE and wanted.block > 1 else wanted
    return tensor.type if kept or tensor.shape[0] % type.block else type


def _write_header(file: BinaryIO, source: Path, gguf: Gguf, planned: dict[str, TensorType], kind: int) -> None:
    """The keys as they were, byte for byte, but for the file type and the alignment."""
    entries = [entry for key, entry in _entries(source, gguf) if key not in ("general.file_type", "general.alignment")]
    entries.append(_string("general.file_type") + struct.pack("<II", UINT32, kind))
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(planned), len(entries)) + b"".join(entries))
    offset = 0
    for tensor in gguf.tensors.values():
        type = planned[tensor.name]
        file.write(_string(tensor.name) + struct.pack("<I", len(tensor.shape)))
        file.write(struct.pack(f"<{len(tensor.shape)}q", *tensor.shape) + struct.pack("<IQ", type.value, offset))
        offset += -(-type.size(tensor.weights) // ALIGNMENT) * ALIGNMENT
    file.write(bytes(-file.tell() % ALIGNMENT))


def _entries(source: Path, gguf: Gguf) -> Iterator[tuple[str, bytes]]:
    with open(source, "rb") as file:
        for key, (start, end) in gguf.spans.items():
            file.seek(start)
            yield key, file.read(end - start)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _converted(gguf: Gguf, tensor: Tensor, type: TensorType) -> Iterator[bytes]:
    """The tensor's bytes in another type, some rows at a time."""
    data = gguf.data(tensor.name)
    if type is tensor.type:
        yield bytes(data)
        return
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    width = tensor.shape[0]
    row = tensor.type.size(width)
    for start in range(0, len(data), ROWS * row):
        rows = np.frombuffer(data[start : start + ROWS * row], np.uint8).reshape(-1, row)
        floats = quants.dequantize(rows, GGMLQuantizationType(tensor.type.value))
        yield quants.quantize(floats, GGMLQuantizationType(type.value)).tobytes()
