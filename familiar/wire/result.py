"""The reading of one model answer: calls, repairs, problems, and the text that remains.

A model answer is never simply "parsed" or "broken". It may hold calls that are complete, markup
that had to be repaired, and a rest that nobody should act on. `ParsedOutput` keeps the three apart
and keeps the raw text, so that a person can always check the reading. Everything here is frozen
and holds plain JSON-like data; nothing here parses or decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True)
class WireCall:
    """One tool call as the model meant it.

    `violations` lists where the arguments miss the offered tool's schema. A call that needed a
    repair never has any: such a repair is rejected instead. `start` and `end` are offsets in `raw`.
    """

    name: str
    arguments: Mapping[str, Json]
    id: str
    start: int
    end: int
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repair:
    """One repair of tags or quoting (never of a value), named, at an offset of `raw`."""

    name: str
    offset: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the answer that was not acted on; `message` is written for the next prompt."""

    name: str
    offset: int
    message: str


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """The reading of one answer, in order of the text. `raw` is the text, up to the byte cap."""

    raw: str
    dialect: str
    calls: tuple[WireCall, ...] = ()
    content: str = ""
    reasoning: str | None = None
    plan: Mapping[str, Json] | None = None
    repairs: tuple[Repair, ...] = ()
    problems: tuple[Problem, ...] = ()
