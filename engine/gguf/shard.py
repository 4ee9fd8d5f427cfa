"""Shard: the header of one file, parsed and checked against the file's size."""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ktd.engine.gguf.cursor import U64, Cursor, opened
from ktd.engine.gguf.metadata import SCALARS, Array, Metadata, Value, ValueType
from ktd.engine.gguf.types import REMOVED, TYPES, TensorType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 18
MAX_ELEMENTS = 16 << 20  # of one array; the largest vocabularies have some hundred thousand
MAX_KEY = 65535
MAX_NAME = 64
MAX_DIMS = 4
MAX_WEIGHTS = 1 << 62
ALIGNMENTS = (8, 65536)

U32 = struct.Struct("<I")
I64 = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor's blocks lie: `offset` is absolute in the file of its shard."""

    name: str
    type: TensorType
    shape: tuple[int, ...]  # GGUF order: the contiguous dimension first
    shard: int
    offset: int
    nbytes: int

    @property
    def weights(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Shard:
    path: Path
    metadata: Metadata
    tensors: tuple[Tensor, ...]
    size: int
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # of each key's entry: its first byte, and past


def read_shard(path: Path, index: int = 0) -> Shard:
    """Parse the header of one file; its tensors are marked as those of shard `index`."""
    with opened(path) as descriptor:
        return parse(Cursor(path, descriptor), index)


def parse(cursor: Cursor, index: int = 0) -> Shard:
    """Parse a header from where the cursor stands, the file's first byte."""
    tensors, keys = _preamble(cursor)
    values, spans = _values(cursor, keys)
    infos = [_info(cursor, number) for number in range(tensors)]
    metadata = Metadata(cursor.path, values)
    placed = _placed(cursor, infos, _alignment(cursor, metadata), index)
    return Shard(cursor.path, metadata, placed, cursor.size, spans)


def _preamble(cursor: Cursor) -> tuple[int, int]:
    """The counts of tensors and keys."""
    magic = cursor.take(4, "the magic number")
    if magic != MAGIC:
        cursor.fail(f"is not a GGUF file: it starts with {magic!r} instead of {MAGIC!r}")
    version = int(cursor.unpack(U32, "the version"))
    if version not in VERSIONS:
        _refuse_version(cursor, version)
    tensors = cursor.count("the tensor count", MAX_TENSORS)
    keys = cursor.count("the metadata count", MAX_KEYS)
    return tensors, keys


def _refuse_version(cursor: Cursor, version: int) -> NoReturn:
    if version == 1:
        cursor.fail("is GGUF version 1, which is no longer read: convert the model again")
    if version and version & 0xFFFF == 0:
        cursor.fail("is a big-endian GGUF file; only little endian is read")
    cursor.fail(f"is GGUF version {version}; versions 2 and 3 are read")


def _values(cursor: Cursor, count: int) -> tuple[dict[str, Value], dict[str, tuple[int, int]]]:
    values: dict[str, Value] = {}
    spans: dict[str, tuple[int, int]] = {}
    for number in range(count):
        start = cursor.position
        key = _name(cursor, f"metadata key {number}", MAX_KEY)
        if key in values:
            cursor.fail(f"metadata key {key!r} occurs twice")
        where = f"metadata key {key!r}"
        values[key] = _value(cursor, _value_type(cursor, where), where)
        spans[key] = start, cursor.position
    return values, spans


def _name(cursor: Cursor, what: str, limit: int) -> str:
    raw = cursor.string(what, limit)
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        cursor.fail(f"{what} is not UTF-8: {raw[:64]!r}")
    if not name:
        cursor.fail(f"{what} is empty")
    return name


def _value_type(cursor: Cursor, where: str) -> ValueType:
    number = int(cursor.unpack(U32, f"type of {where}"))
    try:
        return ValueType(number)
    except ValueError:
        cursor.fail(f"{where} has the unknown value type {number}")


def _value(cursor: Cursor, type: ValueType, where: str) -> Value:
    if type is ValueType.ARRAY:
        return _array(cursor, where)
    if type is ValueType.STRING:
        # Descriptions cut inside a character exist; a name that matters would not match afterwards.
        return cursor.string(where).decode(errors="replace")
    value = cursor.unpack(SCALARS[type], where)
    if type is ValueType.BOOL:
        if value > 1:
            cursor.fail(f"{where} is a bool of value {value}")
        return bool(value)
    return value


def _array(cursor: Cursor, where: str) -> Array:
    type = _value_type(cursor, f"the elements of {where}")
    if type is ValueType.ARRAY:
        cursor.fail(f"{where} is an array of arrays, which GGUF readers do not accept")
    length = cursor.count(f"length of {where}", MAX_ELEMENTS)
    place = f"{cursor.path}: {where}"
    if type is ValueType.STRING:
        return Array(type, length, cursor.strings(length, where), place)
    return Array(type, length, cursor.take(length * SCALARS[type].size, where), place)


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    alignment = metadata.integer("general.alignment", 32)
    least, most = ALIGNMENTS
    if not least <= alignment <= most or alignment & (alignment - 1):
        cursor.fail(f"general.alignment is {alignment}; it must be a power of two from {least} to {most}")
    return alignment


def _info(cursor: Cursor, number: int) -> Tensor:
    """A tensor's entry; its offset still counts from the data section."""
    name = _name(cursor, f"name of tensor {number}", MAX_NAME)
    where = f"tensor {name!r}"
    dims = int(cursor.unpack(U32, f"dimension count of {where}"))
    if not 1 <= dims <= MAX_DIMS:
        cursor.fail(f"{where} has {dims} dimensions; 1 to {MAX_DIMS} are possible")
    shape = tuple(int(cursor.unpack(I64, f"shape of {where}")) for _ in range(dims))
    weights = math.prod(shape)
    if min(shape) < 1 or weights > MAX_WEIGHTS:
        cursor.fail(f"{where} has the impossible shape {shape}")
    type = _tensor_type(cursor, where)
    if shape[0] % type.block:
        cursor.fail(f"{where} has rows of {shape[0]} weights, not a multiple of {type.name}'s block of {type.block}")
    offset = int(cursor.unpack(U64, f"offset of {where}"))
    if offset > cursor.size:
        cursor.fail(f"{where} starts at byte {offset} of a file of {cursor.size}: it is truncated or damaged")
    return Tensor(name, type, shape, 0, offset, type.size(weights))


def _tensor_type(cursor: Cursor, where: str) -> TensorType:
    number = int(cursor.unpack(U32, f"type of {where}"))
    if number in REMOVED:
        cursor.fail(f"{where} has type {number} ({REMOVED[number]}), removed from GGUF: convert the model again")
    if number not in TYPES:
        cursor.fail(f"{where} has the unknown type {number}")
    return TYPES[number]


def _placed(cursor: Cursor, infos: list[Tensor], alignment: int, shard: int) -> tuple[Tensor, ...]:
    """Tensors with absolute offsets, proved to lie apart and inside the file."""
    begin = -(-cursor.position // alignment) * alignment
    placed, names, end = [], set[str](), begin
    for info in sorted(infos, key=lambda info: info.offset):
        offset = begin + info.offset
        if info.name in names:
            cursor.fail(f"tensor {info.name!r} occurs twice")
        if info.offset % alignment:
            cursor.fail(f"tensor {info.name!r} is at {info.offset}, not a multiple of the alignment {alignment}")
        if offset < end:
            cursor.fail(f"tensor {info.name!r} at byte {offset} overlaps the one before it, which ends at {end}")
        end = offset + info.nbytes
        if end > cursor.size:
            cursor.fail(
                f"tensor {info.name!r} ends at byte {end}, but the file has {cursor.size}: it is truncated or damaged"
            )
        names.add(info.name)
        placed.append(Tensor(info.name, info.type, info.shape, shard, offset, info.nbytes))
    return tuple(placed)
