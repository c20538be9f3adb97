"""A prompt is a file, and its version is the hash of that file.

Rendering is strict both ways: a placeholder without a value and a value without a placeholder are
errors, so that a prompt and the code that fills it cannot drift apart unnoticed. Placeholders are
`{lower_case}`; every other brace is left alone, because prompts are full of JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from familiar.errors import ConfigError

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file by its name (`orchestrator/v2`). `version` is 12 hex digits of its SHA-256."""

    name: str
    version: str
    text: str

    @property
    def placeholders(self) -> frozenset[str]:
        return _placeholders(self.text)

    def render(self, **values: str) -> str:
        """Fill every placeholder. Raises `ConfigError` when the names do not match exactly."""
        wanted = self.placeholders
        if wanted != set(values):
            missing, unknown = sorted(wanted - set(values)), sorted(set(values) - wanted)
            raise ConfigError(
                f"Prompt {self.name}: no value for {missing}, no placeholder for {unknown}.",
                where=self.name,
            )
        return _PLACEHOLDER.sub(lambda match: values[match.group(1)], self.text)


@cache
def _placeholders(text: str) -> frozenset[str]:
    return frozenset(_PLACEHOLDER.findall(text))


@dataclass(frozen=True, slots=True)
class Composed:
    """A text made of several prompt files, under the name of the leading one."""

    name: str
    version: str
    text: str


def composed_version(parts: Iterable[Prompt]) -> str:
    """12 hex digits over the names and contents of all parts: it changes when any of them does.
    Values that are rendered into them are not covered."""
    named = sorted({f"{part.name} {part.version}" for part in parts})
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:12]


@cache
def has_prompt(name: str) -> bool:
    try:
        load_prompt(name)
    except ConfigError:
        return False
    return True


@cache
def load_prompt(name: str) -> Prompt:
    """Read `familiar/prompts/<name>.md`. Raises `ConfigError` when there is none."""
    if not re.fullmatch(r"[a-z0-9_-]+(/[a-z0-9_-]+)*", name):
        raise ConfigError(f"{name!r} is not the name of a prompt.", where=name)
    file = files("familiar.prompts").joinpath(*f"{name}.md".split("/"))
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no prompt {name}.",
            where=name,
            remedy="Prompts are the files of familiar/prompts.",
        ) from None
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Prompt(name=name, version=version, text=text.rstrip("\n"))
