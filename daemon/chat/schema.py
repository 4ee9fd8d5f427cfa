"""JSON schemas of clients, as the engine enforces them."""

import json
from typing import Any

from ktd.daemon.errors import BadRequest

ANY_OBJECT = {"type": "object"}

# Where these stand beside properties, whether others are meant is for them to say.
_OPENERS = ("additionalProperties", "unevaluatedProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref")
_MAPS = ("properties", "$defs", "definitions")  # of names to schemas
_LISTS = ("anyOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")


def text(schema: dict[str, Any]) -> str:
    """The schema with its objects closed, as JSON. Raises BadRequest."""
    try:
        return json.dumps(closed(schema))
    except RecursionError as error:
        raise BadRequest("the JSON schema is nested too deeply") from error


def closed(schema: Any) -> Any:
    """The schema with objects that name their properties allowing no others, unless they say so.

    By the standard they would allow them; but clients write schemas without additionalProperties and parse the answer
    into a record, llama.cpp and Ollama close them, and a model left free to add properties adds them without end.
    Within allOf nothing is closed: of the properties of one part, the others know nothing.
    """
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for key in _MAPS:
        if isinstance(schema.get(key), dict):
            found[key] = {name: closed(each) for name, each in schema[key].items()}
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            found[key] = [closed(each) for each in schema[key]]
    for key in _SINGLE:
        if key in schema:
            found[key] = closed(schema[key])
    if isinstance(schema.get("properties"), dict) and not any(key in schema for key in _OPENERS):
        found["additionalProperties"] = False
    return found
