"""From the text of an argument to its value: the schema decides, the text never is "improved".

A string argument is the text between its tags, byte for byte; entities stay entities. Any other
type is read as JSON (or, failing that, as a literal in Python's spelling, or as JSON that was
escaped once too often) and counts only if it has a declared type. Text that reads as none of them
stays text. Without a schema, only text that the dialect writes as JSON is read as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping

from familiar.wire.found import Argument, Element, Written
from familiar.wire.jsontext import loads
from familiar.wire.limits import MAX_DEPTH
from familiar.wire.pythoncalls import LiteralReader, Unreadable
from familiar.wire.result import Json
from familiar.wire.schema import Schema, properties_of, type_name, types_of, variants

_WORDS: Mapping[str, Json] = {"true": True, "false": False, "null": None, "none": None}


def coerce(argument: Argument, schema: object, root: Schema) -> Json:
    """The value of `argument` under `schema` (its property's), whose references live in `root`."""
    if argument.written is Written.VALUE:
        return argument.value
    if argument.tree is not None and argument.tree.children:
        return _from_tree(argument.tree, schema, root, 0)
    if argument.written is Written.STRING:
        return argument.raw
    types = types_of(schema, root)
    if types:
        return _typed(argument.raw, types)
    if argument.written is Written.VERBATIM:
        return argument.raw
    return _inferred(argument.raw)


def _inferred(raw: str) -> Json:
    """JSON where the text is JSON, except that a quoted string stays as it was written."""
    found = loads(raw) if raw.strip()[:1] not in ('"', "") else None
    return raw if found is None else found[0]


def _typed(raw: str, types: frozenset[str]) -> Json:
    if types == {"string"}:
        return raw
    text = raw.strip()
    if len(text) <= 5 and text.lower() in _WORDS:
        word = _WORDS[text.lower()]
        if type_name(word) in types:
            return word
    for value in _readings(text, types):
        kind = type_name(value)
        if kind == "integer" and ("integer" in types or "number" in types):
            whole = isinstance(value, float) and "integer" in types
            return int(value) if whole and isinstance(value, float) else value
        if kind != "string" and kind in types:
            return value
    return raw


def _readings(text: str, types: frozenset[str]) -> list[Json]:
    """The values that `text` may be read as, strictest reading first."""
    plain = loads(text)
    if plain is not None:
        return [plain[0]]
    readings: list[Json] = []
    if types & {"array", "object"} and text[:1] in ("[", "{"):
        if '\\"' in text:
            unescaped = loads(f'"{text}"')
            inner = loads(unescaped[0]) if unescaped and isinstance(unescaped[0], str) else None
            if inner is not None:
                readings.append(inner[0])
        try:
            value, end = LiteralReader(text, len(text)).value(0)
            if end == len(text):
                readings.append(value)
        except Unreadable:
            pass
    return readings


def _from_tree(element: Element, schema: object, root: Schema, depth: int) -> Json:
    """An element as its schema's type: raw text for a string, a list of items, or an object."""
    types = types_of(schema, root)
    if not element.children:
        return _typed(element.raw, types) if types else _inferred(element.raw)
    if "string" in types or depth > MAX_DEPTH:
        return element.raw
    names = {child.name for child in element.children}
    if "array" in types and ("object" not in types or names == {"item"}):
        items = next(
            (option["items"] for option in variants(schema, root) if "items" in option), {}
        )
        return [_from_tree(child, items, root, depth + 1) for child in element.children]
    if not types and names == {"item"}:
        return [_from_tree(child, {}, root, depth + 1) for child in element.children]
    return _object(element, schema, root, depth)


def _object(element: Element, schema: object, root: Schema, depth: int) -> dict[str, Json]:
    properties: dict[str, object] = {}
    extra: object = {}
    for option in variants(schema, root):
        properties.update(properties_of(option, root))
        extra = option.get("additionalProperties", extra)
    found: dict[str, Json] = {}
    for child in element.children:
        value = _from_tree(child, properties.get(child.name, extra), root, depth + 1)
        if child.name in found:
            earlier = found[child.name]
            repeated: list[Json] = earlier if isinstance(earlier, list) else [earlier]
            repeated.append(value)
            found[child.name] = repeated
        else:
            found[child.name] = value
    return found
