"""The values of Go templates: Python's, and records with named fields."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktd.daemon.chat.go.errors import GoTemplateError

_HTML = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}  # as Go's json.Marshal escapes them


@dataclass(frozen=True, slots=True)
class Record:
    """A struct of Ollama's; `plain` is its JSON form, as which it is printed."""

    fields: Mapping[str, Any]
    plain: Any


def field(value: Any, name: str) -> Any:
    """Raises GoTemplateError where there cannot be such a field."""
    if isinstance(value, Record) and name in value.fields:
        return value.fields[name]
    if isinstance(value, Mapping):
        return value.get(name)
    raise GoTemplateError(f"there is no field .{name}" + (" in nothing" if value is None else ""))


def true(value: Any) -> bool:
    return True if isinstance(value, Record) else bool(value)


def printed(value: Any) -> str:
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return f"{value:g}"
    return as_json(value)


def as_json(value: Any) -> str:
    """As Go writes it: no blanks, and nothing that HTML could take for its own."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).translate(_HTML)


def _plain(value: Any) -> Any:
    match value:
        case Record():
            return _plain(value.plain)
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
    return value
