"""A bounded reader of JSON schema: enough to say whether a call's arguments fit a tool.

Known: type, enum, const, properties, required, additionalProperties, items, anyOf, oneOf, allOf,
local `$ref`, minimum/maximum, minLength/maxLength, minItems/maxItems. Any other keyword is
ignored, so a verdict of "fits" is never stricter than the schema's author. Depth and steps are
capped; a schema that needs more is taken to fit, as if it said nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from familiar.wire.result import Json

_MAX_DEPTH = 24
_MAX_STEPS = 20_000
_MAX_VIOLATIONS = 8
Schema = Mapping[str, object]

_TYPE_OF: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
# Names that tool authors use for the JSON types.
_SPELLINGS: Mapping[str, str] = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
    "none": "null",
}


def type_name(value: Json) -> str:
    """The JSON schema type of `value`; a whole number counts as `integer`."""
    if isinstance(value, float) and value.is_integer():
        return "integer"
    return _TYPE_OF[type(value)]


def resolve(schema: object, root: Schema, depth: int = 0) -> Schema:
    """`schema` with its local `$ref` followed; an empty schema where there is nothing to follow."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/") or depth > 8:
        return schema
    target: object = root
    for part in reference[2:].split("/"):
        target = (
            target.get(part.replace("~1", "/").replace("~0", "~"))
            if isinstance(target, Mapping)
            else None
        )
    return resolve(target, root, depth + 1)


def properties_of(schema: object, root: Schema) -> Schema:
    """The declared properties of an object's schema, by name."""
    declared = resolve(schema, root).get("properties")
    return declared if isinstance(declared, Mapping) else {}


def types_of(schema: object, root: Schema, depth: int = 0) -> frozenset[str]:
    """The JSON types that `schema` allows; empty where it does not say."""
    found = resolve(schema, root)
    if depth > _MAX_DEPTH:
        return frozenset()
    declared = found.get("type")
    names = [declared] if isinstance(declared, str) else declared
    if isinstance(names, Sequence) and names:
        return frozenset(_SPELLINGS.get(str(name).lower(), str(name).lower()) for name in names)
    values = found.get("enum")
    if "const" in found:
        values = [found["const"]]
    if isinstance(values, Sequence) and not isinstance(values, str) and values:
        return frozenset(_TYPE_OF.get(type(value), "object") for value in values)
    collected: set[str] = set()
    for option in _alternatives(found):
        collected |= types_of(option, root, depth + 1)
    if not collected and "properties" in found:
        return frozenset({"object"})
    if not collected and "items" in found:
        return frozenset({"array"})
    return frozenset(collected)


def variants(schema: object, root: Schema) -> list[Schema]:
    """`schema` itself and its direct alternatives, resolved."""
    found = resolve(schema, root)
    return [found, *(resolve(option, root) for option in _alternatives(found))]


def _options(rules: Schema, keyword: str) -> Sequence[object]:
    options = rules.get(keyword)
    return options if isinstance(options, Sequence) and not isinstance(options, str) else ()


def _alternatives(rules: Schema) -> list[object]:
    return [
        option
        for keyword in ("anyOf", "oneOf", "allOf")
        for option in _options(rules, keyword)[:64]
    ]


@dataclass(slots=True)
class _Check:
    root: Schema
    steps: int = 0
    found: list[str] = field(default_factory=list)

    def run(self, value: Json, schema: object, path: str, depth: int) -> None:
        self.steps += 1
        if depth > _MAX_DEPTH or self.steps > _MAX_STEPS or len(self.found) >= _MAX_VIOLATIONS:
            return
        if schema is False:
            self.found.append(f"{path} is not allowed")
            return
        rules = resolve(schema, self.root)
        self._type(value, rules, path)
        self._values(value, rules, path)
        self._sizes(value, rules, path)
        if isinstance(value, dict):
            self._object(value, rules, path, depth)
        elif isinstance(value, list) and "items" in rules:
            for index, item in enumerate(value):
                self.run(item, rules["items"], f"{path}[{index}]", depth + 1)
        self._combined(value, rules, path, depth)

    def _type(self, value: Json, rules: Schema, path: str) -> None:
        if "type" not in rules:
            return
        allowed = types_of({"type": rules["type"]}, self.root)
        actual = type_name(value)
        if allowed and actual not in allowed and not (actual == "integer" and "number" in allowed):
            self.found.append(f"{path} is {actual}, not {' or '.join(sorted(allowed))}")

    def _values(self, value: Json, rules: Schema, path: str) -> None:
        options = rules.get("enum")
        if isinstance(options, Sequence) and value not in options:
            self.found.append(f"{path} is none of the allowed values")
        if "const" in rules and value != rules["const"]:
            self.found.append(f"{path} is not the required value")

    def _sizes(self, value: Json, rules: Schema, path: str) -> None:
        measured: float
        if isinstance(value, bool) or value is None:
            return
        if isinstance(value, int | float):
            low, high, measured = "minimum", "maximum", value
        elif isinstance(value, str):
            low, high, measured = "minLength", "maxLength", len(value)
        elif isinstance(value, list):
            low, high, measured = "minItems", "maxItems", len(value)
        else:
            return
        least, most = rules.get(low), rules.get(high)
        if isinstance(least, int | float) and measured < least:
            self.found.append(f"{path} is below its {low}")
        if isinstance(most, int | float) and measured > most:
            self.found.append(f"{path} is above its {high}")

    def _object(self, value: dict[str, Json], rules: Schema, path: str, depth: int) -> None:
        required = rules.get("required")
        if isinstance(required, Sequence) and not isinstance(required, str):
            for name in required:
                if name not in value:
                    self.found.append(f"{path} lacks {name!r}")
        known = properties_of(rules, self.root)
        extra = rules.get("additionalProperties")
        for key, item in value.items():
            where = f"{path}.{key}"
            if key in known:
                self.run(item, known[key], where, depth + 1)
            elif extra is False:
                self.found.append(f"{where} is not a known argument")
            elif isinstance(extra, Mapping):
                self.run(item, extra, where, depth + 1)

    def _combined(self, value: Json, rules: Schema, path: str, depth: int) -> None:
        for option in _options(rules, "allOf"):
            self.run(value, option, path, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            choices = _options(rules, keyword)
            if choices and not any(self._fits(value, choice, depth) for choice in choices):
                self.found.append(f"{path} fits none of its alternatives")

    def _fits(self, value: Json, schema: object, depth: int) -> bool:
        trial = _Check(self.root, self.steps)
        trial.run(value, schema, "", depth + 1)
        self.steps = trial.steps
        return not trial.found


def violations(value: Json, schema: object) -> tuple[str, ...]:
    """Where `value` misses `schema`, at most a handful of sentences; empty where it fits."""
    if not isinstance(schema, Mapping) or not schema:
        return ()
    check = _Check(schema)
    check.run(value, schema, "arguments", 0)
    return tuple(check.found)
