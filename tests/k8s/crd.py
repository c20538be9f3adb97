"""The schemas of KubeRay's custom resources, in the form in which an API server applies them.

A structural schema means more than JSON Schema reads in it: unknown fields are refused although no
`additionalProperties: false` is written, lists may be keyed maps, integers have a width.
`CrdSchema` adds those rules, as `kubectl apply --validate=strict` would. The expressions in
`x-kubernetes-validations` are not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema.validators import extend

WIDTH = {"int32": 31, "int64": 63}


class UniqueKeyLoader(yaml.CSafeLoader):
    """YAML in which a key given twice is an error, as it is for the API server."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"keys given twice: {sorted(twice)}, {node.start_mark}")
        return super().construct_mapping(node, deep)


def load_documents(text: str) -> list[dict[str, Any]]:
    """Every document of a manifest."""
    return [document for document in yaml.load_all(text, UniqueKeyLoader) if document]


class CrdSchema:
    """One served version of a custom resource, read from its CustomResourceDefinition."""

    def __init__(self, file: Path, version: str = "v1") -> None:
        definition = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
        spec = definition["spec"]
        found = next(item for item in spec["versions"] if item["name"] == version)
        assert found["served"]
        self.api_version = f"{spec['group']}/{version}"
        self.kind: str = spec["names"]["kind"]
        self._schema: Mapping[str, Any] = found["schema"]["openAPIV3Schema"]

    @cached_property
    def _closed(self) -> dict[str, Any]:
        return _close(self._schema)

    def errors(self, manifest: Mapping[str, Any], *path: str) -> list[str]:
        """What is wrong with a manifest, or with a value below the schema at `path`."""
        schema = self._closed
        for name in path:
            schema = schema["items"] if name == "[]" else schema["properties"][name]
        found = sorted(Validator(schema).iter_errors(manifest), key=lambda error: list(error.path))
        wrong = [f"{'.'.join(map(str, error.path)) or 'top'}: {error.message}" for error in found]
        if not path and (manifest.get("apiVersion"), manifest.get("kind")) != (
            self.api_version,
            self.kind,
        ):
            wrong.append(f"top: this is not a {self.api_version} {self.kind}")
        return wrong


def _close(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse unknown fields wherever fields are listed, and give int-or-string its types."""
    closed = dict(schema)
    if "properties" in schema:
        closed["properties"] = {name: _close(below) for name, below in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            closed[name] = _close(schema[name])
    if schema.get("x-kubernetes-int-or-string"):
        closed["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable") and "type" in schema:
        closed["type"] = [schema["type"], "null"]
    return closed


def _width(
    _: Any, format_: str, value: object, __: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    bits = WIDTH.get(format_)
    if bits and isinstance(value, int) and not -(2**bits) <= value < 2**bits:
        yield jsonschema.ValidationError(f"{value} does not fit {format_}")


def _list_type(
    _: Any, kind: str, value: object, schema: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    """Entries of a `map` differ in their keys, entries of a `set` in themselves."""
    if not isinstance(value, list) or kind not in {"map", "set"}:
        return
    names = schema.get("x-kubernetes-list-map-keys", [])
    keys: list[object] = [
        tuple(entry.get(name) for name in names) if names else repr(entry) for entry in value
    ]
    if twice := {key for key in keys if keys.count(key) > 1}:
        yield jsonschema.ValidationError(f"entries given twice: {sorted(map(str, twice))}")


Validator = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {"format": _width, "x-kubernetes-list-type": _list_type},
)
