"""Read a YAML configuration and explain every problem in it.

Every problem is reported at once, each with the path of its key; an unknown key comes with the
nearest valid one, because a silent default is worse than an error. A key that is defined twice, of
which YAML would keep the last, is a problem too. Overrides (`pools.x.slots=2`)
are applied before validation, so they are held to the same rules.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from familiar.config.schema import Config
from familiar.errors import ConfigError


def load_config(path: str | Path, overrides: Mapping[str, object] | None = None) -> Config:
    """Read `path`. Raises `ConfigError` that names the file, the key and the remedy."""
    try:
        file = Path(path).expanduser()
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file {path}.", remedy="Name one of configs/*.yaml."
        ) from None
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The configuration {path} is not UTF-8 text: byte {error.start} cannot be read.",
            remedy="Save it as UTF-8.",
        ) from None
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{path!r} is not a path: {error}.") from None
    return parse_config(text, source=str(path), overrides=overrides)


def parse_config(
    text: str, *, source: str = "configuration", overrides: Mapping[str, object] | None = None
) -> Config:
    """Validate YAML text. `overrides` maps dotted paths to values; `*` stands for every key."""
    data = read_yaml(text, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source} must be a mapping with pools, aliases and api.")
    for dotted, value in (overrides or {}).items():
        _override(data, dotted.split("."), value, dotted)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors()]
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise ConfigError(
            f"{source} has {len(problems)} problem(s):\n{lines}", where=where
        ) from None


_OTHER_BASE = re.compile(r"[-+]?(?:0[0-9_]|[0-9_]+:)")
_READ_AS = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    date: "a date",
    datetime: "a date",
}


class _Loader(yaml.SafeLoader):
    """YAML in which nothing is dropped or changed in silence: a key that is defined twice is an
    error, and so is a number that YAML 1.1 reads by another base (017 is 15, and 8:30 is 510)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (first := seen.setdefault(key.value, key)) is not key:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {key.value} is defined twice, in line {first.start_mark.line + 1} "
                    "and",
                    key.start_mark,
                )
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        if _OTHER_BASE.match(node.value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value} is a number of another base in YAML; write it in base ten, or in "
                "quotes if it is text",
                node.start_mark,
            )
        whole = node.tag == "tag:yaml.org,2002:int"
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def read_yaml(text: str, source: str) -> object:
    """The value of a YAML text. Raises `ConfigError` for every text that is not one."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{source} is not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source} is not valid YAML: it is nested too deeply.") from None


def config_hash(config: Config) -> str:
    """The first 12 hex digits of the SHA-256 of the configuration as canonical JSON."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]


def _override(data: dict[str, Any], path: list[str], value: object, dotted: str) -> None:
    head, rest = path[0], path[1:]
    for key in list(data) if head == "*" else [head]:
        if not rest:
            data[key] = value
        elif isinstance(below := data.setdefault(key, {}), dict):
            _override(below, rest, value, dotted)
        else:
            raise ConfigError(f"The override {dotted} goes through {key}, which is not a mapping.")


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "top level"
    if item["type"] != "extra_forbidden":
        problem = f"{where}: {item['msg'].removeprefix('Value error, ')}"
        given = item["input"]
        if item["type"] != "string_type" or not isinstance(given, bool | int | float | date):
            return problem
        return f"{problem}; YAML reads this as {_READ_AS[type(given)]}: put it in quotes"
    key = str(item["loc"][-1])
    known = sorted(_fields_at(Config, item["loc"][:-1]))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"valid keys: {', '.join(known)}"
    return f"{where}: unknown key {key}; {hint}"


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """The field names that are valid below `loc`, found by walking the schema's types."""
    kinds: list[Any] = [model]
    for part in loc:
        kinds = [below for kind in kinds for below in _below(kind, part)]
    return {name for kind in kinds if _is_model(kind) for name in kind.model_fields}


def _below(kind: Any, part: int | str) -> list[Any]:
    """The types that may stand at `part`, a field, a key or an index, of a value of type `kind`."""
    if _is_model(kind):
        field = kind.model_fields.get(str(part))
        return _alternatives(field.annotation) if field else []
    return _alternatives(get_args(kind)[-1]) if get_origin(kind) in (list, dict) else []


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
