"""Read a YAML configuration and explain what is wrong with it.

Every problem is reported at once, each with the path of its key; an unknown key comes with the
nearest valid one, because a silent default is worse than a refusal. Overrides (`pools.x.slots=2`)
are applied before validation, so they are held to the same rules.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from familiar.config.schema import Config
from familiar.errors import ConfigError


def load_config(path: str | Path, overrides: Mapping[str, object] | None = None) -> Config:
    """Read `path`. Raises `ConfigError` that names the file, the key and the remedy."""
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file {path}.", remedy="Name one of configs/*.yaml."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error}.") from None
    return parse_config(text, source=str(path), overrides=overrides)


def parse_config(
    text: str, *, source: str = "configuration", overrides: Mapping[str, object] | None = None
) -> Config:
    """Validate YAML text. `overrides` maps dotted paths to values; `*` stands for every key."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}") from None
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
        return f"{where}: {item['msg'].removeprefix('Value error, ')}"
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
