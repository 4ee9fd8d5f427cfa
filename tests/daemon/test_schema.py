"""JSON schemas of clients: which objects are closed before the engine gets them."""

import json
from typing import Any

import pytest

from ktd.daemon.chat import schema
from ktd.daemon.errors import BadRequest

A = {"a": {"type": "integer"}}
CLOSED = {"properties": A, "additionalProperties": False}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"type": "object"}, {"type": "object"}),
        ({"properties": A}, CLOSED),
        ({"properties": A, "additionalProperties": True}, {"properties": A, "additionalProperties": True}),
        ({"properties": A, "anyOf": [{"properties": A}]}, {"properties": A, "anyOf": [CLOSED]}),
        ({"allOf": [{"properties": A}, {"properties": {"b": {}}}]},
         {"allOf": [{"properties": A}, {"properties": {"b": {}}}]}),
        ({"items": {"properties": A}}, {"items": CLOSED}),
        ({"additionalProperties": {"properties": A}}, {"additionalProperties": CLOSED}),
        ({"$defs": {"x": {"properties": A}}, "$ref": "#/$defs/x"}, {"$defs": {"x": CLOSED}, "$ref": "#/$defs/x"}),
        ({"properties": {"properties": {"properties": A}}},
         {"properties": {"properties": CLOSED}, "additionalProperties": False}),
        ({"items": True, "prefixItems": [True]}, {"items": True, "prefixItems": [True]}),
        ({"enum": [{"properties": A}]}, {"enum": [{"properties": A}]}),
    ],
)  # fmt: skip
def test_objects_that_name_their_properties_are_closed(given: Any, found: Any) -> None:
    before = json.dumps(given)
    assert schema.closed(given) == found
    assert json.dumps(given) == before


def test_a_schema_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"items": deep}
    with pytest.raises(BadRequest, match="too deeply"):
        schema.text(deep)
