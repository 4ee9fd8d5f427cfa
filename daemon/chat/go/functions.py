"""The functions that Go templates may call: of Go's own those that templates use, and Ollama's."""

import operator
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from ktd.daemon.chat.go.errors import GoTemplateError
from ktd.daemon.chat.go.values import as_json, printed, true

_VERB = re.compile(r"%([svdq%])|%")


def _equal(value: Any, *others: Any) -> bool:
    """Whether it is one of the others."""
    return any(type(value) is type(other) and value == other for other in others)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        if type(left) is not type(right) or not isinstance(left, int | float | str):
            raise GoTemplateError("values of different kinds are compared")
        return test(left, right)

    return compare


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list | str) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise GoTemplateError(f"there is nothing at index {key}")
    return value


def _slice(value: Any, start: int = 0, stop: int | None = None) -> Any:
    stop = len(value) if stop is None else stop
    if not 0 <= start <= stop <= len(value):
        raise GoTemplateError(f"a slice from {start} to {stop} is outside of {len(value)}")
    return value[start:stop]


def _length(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value)


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def one(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] is None or not left:
            raise GoTemplateError(f"printf {form!r} is not supported")
        value = left.pop(0)
        return as_json(value) if match[1] == "q" else printed(value)

    return _VERB.sub(one, form)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not true(value),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _compare(operator.lt),
    "le": _compare(operator.le),
    "gt": _compare(operator.gt),
    "ge": _compare(operator.ge),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": lambda *values: "".join(map(printed, values)),
    "printf": _printf,
    "json": as_json,
    "currentDate": lambda *_: date.today().isoformat(),
}
