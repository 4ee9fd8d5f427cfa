"""Tool calls out of the JSON that models write: often not quite what they were asked for."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from ktd.daemon.chat.chat import ToolCall

_BETWEEN = " \t\r\n,;"  # what models put between two values


def arguments(text: str) -> dict[str, Any] | None:
    """The object that the text begins with, whatever follows it; no arguments for no text; else None."""
    text = text.strip()
    if not text:
        return {}
    value = next(values(text), None)
    return value if isinstance(value, dict) else None


def calls(name: str, text: str) -> list[ToolCall]:
    """The call to a tool whose arguments the text begins with; none without a name, or when they are no object."""
    given = arguments(text)
    return [ToolCall(name, given)] if name and given is not None else []


def values(text: str) -> Iterator[Any]:
    """The JSON values that the text begins with, one after the other."""
    text, at = text.strip(_BETWEEN), 0
    while at < len(text):
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield value
        while at < len(text) and text[at] in _BETWEEN:
            at += 1


def call(value: object) -> ToolCall | None:
    """Out of {"name", "arguments"}, in the ways that models have learnt to vary it."""
    match value:
        case {"function": dict() as inner}:
            return call(inner)
        case dict():
            return _named(value)
    return None


def _named(value: dict[str, Any]) -> ToolCall | None:
    name = value.get("name", value.get("function"))
    given = value.get("arguments", value.get("parameters", {}))
    if isinstance(given, str):
        given = arguments(given)
    return ToolCall(name, given) if isinstance(name, str) and name and isinstance(given, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
