"""Metadata: the key-value pairs of a GGUF file, typed and checked when they are asked for."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from ktd.engine.gguf.cursor import U64, GGUFError

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")
REQUIRED: Final = object()


class ValueType(IntEnum):
    """What a value is; the numbers are the file's."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


SCALARS = {
    ValueType.UINT8: struct.Struct("<B"),
    ValueType.INT8: struct.Struct("<b"),
    ValueType.UINT16: struct.Struct("<H"),
    ValueType.INT16: struct.Struct("<h"),
    ValueType.UINT32: struct.Struct("<I"),
    ValueType.INT32: struct.Struct("<i"),
    ValueType.FLOAT32: struct.Struct("<f"),
    ValueType.BOOL: struct.Struct("<B"),
    ValueType.UINT64: U64,
    ValueType.INT64: struct.Struct("<q"),
    ValueType.FLOAT64: struct.Struct("<d"),
}


class Array:
    """An array of the header, kept as its bytes until it is asked for."""

    __slots__ = ("_raw", "_where", "length", "type")

    def __init__(self, type: ValueType, length: int, raw: bytes, where: str) -> None:
        self.type = type
        self.length = length
        self._raw = raw
        self._where = where

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return f"Array({self.type.name}, {self.length})"

    def numpy(self) -> NDArray[Any]:
        """A read-only view [length] in the file's own number type."""
        import numpy as np  # 0.1 s that the daemon's start does without

        if self.type is ValueType.STRING:
            raise GGUFError(f"{self._where} holds strings, not numbers")
        numbers = np.frombuffer(self._raw, SCALARS[self.type].format)
        if self.type is ValueType.BOOL:
            if numbers.size and numbers.max() > 1:
                raise GGUFError(f"{self._where} holds a bool that is neither 0 nor 1")
            return numbers.view(np.bool_)
        return numbers

    def to_list(self) -> list[Any]:
        """The elements as Python values."""
        return list(self._strings()) if self.type is ValueType.STRING else self.numpy().tolist()

    def _strings(self) -> Iterator[str]:
        raw, position, unpack = self._raw, 0, U64.unpack_from
        for index in range(self.length):
            (length,) = unpack(raw, position)
            position += 8 + length
            try:
                yield raw[position - length : position].decode()
            except UnicodeDecodeError as error:
                raise GGUFError(f"{self._where}[{index}] is not UTF-8: {error}") from error


Value = bool | int | float | str | Array


class Metadata(Mapping[str, Value]):
    """Values by key.

    The typed getters raise `GGUFError` for an ill-typed key, and for a missing one unless a default is given.
    """

    def __init__(self, path: Path, values: dict[str, Value]) -> None:
        self._path = path
        self._values = values

    def __getitem__(self, key: str) -> Value:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def integer(self, key: str) -> int: ...
    @overload
    def integer(self, key: str, default: T) -> int | T: ...
    def integer(self, key: str, default: Any = REQUIRED) -> Any:
        return self._typed(key, default, _is_integer, "an integer", int)

    @overload
    def number(self, key: str) -> float: ...
    @overload
    def number(self, key: str, default: T) -> float | T: ...
    def number(self, key: str, default: Any = REQUIRED) -> Any:
        """A finite float; an integer in the file is taken as one."""
        return self._typed(key, default, _is_finite, "a finite number", float)

    @overload
    def text(self, key: str) -> str: ...
    @overload
    def text(self, key: str, default: T) -> str | T: ...
    def text(self, key: str, default: Any = REQUIRED) -> Any:
        return self._typed(key, default, lambda value: isinstance(value, str), "a string", str)

    @overload
    def flag(self, key: str) -> bool: ...
    @overload
    def flag(self, key: str, default: T) -> bool | T: ...
    def flag(self, key: str, default: Any = REQUIRED) -> Any:
        return self._typed(key, default, lambda value: isinstance(value, bool), "a bool", bool)

    @overload
    def numbers(self, key: str) -> NDArray[Any]: ...
    @overload
    def numbers(self, key: str, default: T) -> NDArray[Any] | T: ...
    def numbers(self, key: str, default: Any = REQUIRED) -> Any:
        """An array of numbers as a read-only view [length] in the file's own type."""
        return self._typed(key, default, _is_numbers, "an array of numbers", Array.numpy)

    @overload
    def texts(self, key: str) -> list[str]: ...
    @overload
    def texts(self, key: str, default: T) -> list[str] | T: ...
    def texts(self, key: str, default: Any = REQUIRED) -> Any:
        return self._typed(key, default, _is_texts, "an array of strings", Array.to_list)

    def _typed(
        self, key: str, default: Any, fits: Callable[[Value], bool], wanted: str, convert: Callable[[Any], Any]
    ) -> Any:
        value = self._values.get(key)
        if value is None:
            if default is REQUIRED:
                raise GGUFError(f"{self._path}: metadata key {key!r} is missing")
            return default
        if not fits(value):
            shown = value if isinstance(value, Array) else f"{value!r:.60}"
            raise GGUFError(f"{self._path}: metadata key {key!r} must be {wanted}, it is {shown}")
        return convert(value)


def _is_integer(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_numbers(value: Value) -> bool:
    return isinstance(value, Array) and value.type not in (ValueType.STRING, ValueType.BOOL)


def _is_texts(value: Value) -> bool:
    return isinstance(value, Array) and value.type is ValueType.STRING
