"""Decoding of request bodies, as leniently as clients need.

The content type is never looked at, unknown keys are passed over, keys of known records match without case, null
means unset, numbers may come as text, and what follows the first JSON value is ignored.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from ktd.daemon.errors import BadRequest

T = TypeVar("T", bound=msgspec.Struct)

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(body: bytes | bytearray, record: type[T]) -> T:
    """Raises BadRequest."""
    value = _parse(body)
    if not isinstance(value, dict):
        raise BadRequest(f"the request body must be a JSON object, not {_kind(value)}")
    try:
        return msgspec.convert(_fold(value, record), record, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise BadRequest(str(error)) from error


def _parse(body: bytes | bytearray) -> Any:
    try:
        text = body.decode().lstrip()
        if not text:
            raise BadRequest("missing request body")
        value, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
        return _mended(value) if _SURROGATE.search(body) else value
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"invalid JSON: {error}") from error


def _fold(value: Any, kind: Any) -> Any:
    """The value with the keys of records spelled as declared, and their nulls left out."""
    record, listed = _record_in(kind)
    if record is None:
        return value
    if listed:
        return [_fold(item, record) for item in value] if isinstance(value, list) else value
    if not isinstance(value, dict):
        return value
    types = _field_types(record)
    folded = {key.lower(): item for key, item in value.items() if item is not None}
    return {key: _fold(item, types[key]) for key, item in folded.items() if key in types}


@cache
def _field_types(record: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(record)}


@cache
def _record_in(kind: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """The record type that a field holds, and whether it holds a list of them."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, False
    if get_origin(kind) in (list, tuple):
        return _record_in(get_args(kind)[0])[0], True
    if isinstance(kind, UnionType):
        found = [_record_in(option) for option in get_args(kind)]
        return next((option for option in found if option[0]), (None, False))
    return None, False


def _mended(value: Any) -> Any:
    """The value with half surrogate pairs replaced: they are no text, and cannot be sent on."""
    mend: Callable[[Any], Any] = _mended
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [mend(item) for item in value]
    if isinstance(value, dict):
        return {mend(key): mend(item) for key, item in value.items()}
    return value


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
