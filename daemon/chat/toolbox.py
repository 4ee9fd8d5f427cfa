"""Toolbox: the tools that a client offers, as far as its answer cannot be read without them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_KINDS = {
    str: ("string",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    type(None): ("null",),
    dict: ("object",),
    list: ("array",),
}


class Toolbox:
    """Tools by their names. They are what a client sent, so anything may be missing."""

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        functions = [_mapping(tool.get("function")) for tool in tools]
        self._tools = {str(function.get("name")): _mapping(function.get("parameters")) for function in functions}

    def __bool__(self) -> bool:
        return bool(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def typed(self, tool: str, parameter: str, text: str) -> Any:
        """What a parameter written without quotes means: JSON where the tool's schema allows it, else text."""
        properties = _mapping(self._tools.get(tool, {}).get("properties"))
        wanted = _types(_mapping(properties.get(parameter)))
        if wanted == {"string"}:
            return text
        try:
            value = json.loads(text.lower() if text in ("True", "False") else "null" if text == "None" else text)
        except (ValueError, RecursionError):
            return text
        fits = not wanted or not wanted.isdisjoint(_KINDS[type(value)])
        return value if fits or "string" not in wanted else text


def _types(schema: Mapping[str, Any]) -> set[str]:
    """The types that a schema names; empty where it names none."""
    named = schema.get("type")
    found = {named} if isinstance(named, str) else {each for each in _list(named) if isinstance(each, str)}
    for value in _list(schema.get("enum")):
        found.update(_KINDS.get(type(value), ()))
    for key in ("anyOf", "oneOf"):
        for branch in _list(schema.get(key)):
            found |= _types(_mapping(branch))
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
