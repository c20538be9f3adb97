"""The bounded schema reader: what it holds against a value, and what it lets pass."""

from __future__ import annotations

import pytest

from familiar.wire.coerce import coerce
from familiar.wire.found import Argument, Written
from familiar.wire.result import Json
from familiar.wire.schema import types_of, violations

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "minLength": 1},
        "mode": {"enum": ["r", "w"]},
        "lines": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 3},
        "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "where": {"$ref": "#/$defs/place"},
    },
    "required": ["path"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "required": ["x"]}},
}


@pytest.mark.parametrize(
    "value",
    [
        {"path": "a"},
        {"path": "a", "mode": "w", "lines": [1, 2], "size": None},
        {"path": "a", "lines": [], "size": 3, "where": {"x": 1}},
    ],
)
def test_what_fits(value: dict[str, Json]) -> None:
    assert violations(value, SCHEMA) == ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "'path'"),
        ({"path": ""}, "minLength"),
        ({"path": 1}, "integer, not string"),
        ({"path": "a", "mode": "x"}, "allowed values"),
        ({"path": "a", "lines": ["1"]}, "lines[0]"),
        ({"path": "a", "lines": [-1]}, "minimum"),
        ({"path": "a", "lines": [1, 2, 3, 4]}, "maxItems"),
        ({"path": "a", "size": "big"}, "alternatives"),
        ({"path": "a", "where": {}}, "'x'"),
        ({"path": "a", "extra": 1}, "not a known argument"),
        ({"path": True}, "boolean, not string"),
    ],
)
def test_what_does_not_fit_is_told_where(value: dict[str, Json], told: str) -> None:
    found = violations(value, SCHEMA)
    assert len(found) == 1
    assert told in found[0]


def test_a_schema_that_refers_to_itself_ends() -> None:
    loop = {"$defs": {"n": {"$ref": "#/$defs/n"}}, "$ref": "#/$defs/n"}
    assert violations({"a": 1}, loop) == ()
    deep: dict[str, object] = {"type": "object"}
    deep["properties"] = {"a": deep}
    value: Json = {}
    for _ in range(200):
        value = {"a": value}
    assert violations(value, deep) == ()


@pytest.mark.parametrize(
    ("raw", "schema", "value"),
    [
        ("42", {"type": "string"}, "42"),
        ("&lt;b&gt;", {"type": "string"}, "&lt;b&gt;"),
        ("42", {"type": "integer"}, 42),
        ("3.0", {"type": "integer"}, 3),
        ("abc", {"type": "integer"}, "abc"),
        ("True", {"type": "boolean"}, True),
        ("null", {"type": ["string", "null"]}, None),
        ("null", {"type": "string"}, "null"),
        ('{"a": 1}', {"type": ["string", "object"]}, {"a": 1}),
        ("{not json", {"type": ["string", "object"]}, "{not json"),
        ("{'a': True}", {"type": "object"}, {"a": True}),
        ('[{\\"a\\": \\"b\\"}]', {"type": "array"}, [{"a": "b"}]),
        ("celsius", {"enum": ["celsius", "kelvin"]}, "celsius"),
        ("7", {"enum": [7, 8]}, 7),
    ],
)
def test_a_text_becomes_what_its_schema_says(raw: str, schema: object, value: Json) -> None:
    found = coerce(Argument("a", raw, Written.VERBATIM), schema, {})
    assert found == value
    assert type(found) is type(value)


def test_types_are_collected_through_alternatives() -> None:
    schema = {"oneOf": [{"type": "string"}, {"anyOf": [{"type": "null"}, {"enum": [1]}]}]}
    assert types_of(schema, schema) == {"string", "null", "integer"}
