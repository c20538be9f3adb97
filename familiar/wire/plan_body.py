"""From the body of a plan document to the plan: JSON, TOML, or tags around text.

A document is whole or it is no plan: a call without id, alias or prompt, a value of the wrong kind
are problems with a sentence each. In the tag wires a closing tag counts only before a structural
boundary (the next tag of the wire, the root's end, the text's end), so a prompt may quote the wire.
Text is taken as it is; entities are not decoded. Repaired are only a forgotten closer before a
sibling that starts a line, and the quoting of JSON.

TOML is read by `tomllib`, which is written in Python and has no bounds of its own. It makes
several objects for each table, key and array entry, and takes time in the square of a dotted key's
parts. So the marks that stand for these are counted first, outside of strings and comments, by one
linear pass.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field

from familiar.wire.found import Window
from familiar.wire.jsontext import whole_json
from familiar.wire.limits import MAX_TAGS
from familiar.wire.offered import OfferedTools
from familiar.wire.plan_wire import PlanTags
from familiar.wire.result import Json, Problem, Repair
from familiar.wire.tokens import Kind, TagTable, read_attributes

_MAX_AHEAD = 256
_MAX_DOTS = 16
# Every alternative takes all that it begins, closed or not: no part is looked at twice.
_TOML_TEXT = re.compile(
    r"""\"{3}(?:[^"\\]|\\.|"{1,2}(?!"))*+(?:"{3})?"""
    r"""|'{3}(?:[^']|'{1,2}(?!'))*+(?:'{3})?"""
    r"""|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?|\#[^\n]*+""",
    re.DOTALL,
)
# Each begins a table, a value or an array entry.
_MARK = re.compile(r"[=\[{,]")


@dataclass(slots=True)
class PlanReading:
    """A plan and where it stood, or the problems that kept it from being one."""

    plan: Mapping[str, Json] | None = None
    start: int = 0
    end: int = 0
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def reject(self, name: str, offset: int, message: str) -> PlanReading:
        self.plan = None
        self.problems.append(Problem(name, offset, message))
        return self


def read_body(text: str, start: int, stop: int, wire: str, reading: PlanReading) -> PlanReading:
    """The plan whose JSON or TOML is `text[start:stop]`, perhaps in a fence."""
    body = _unfenced(text[start:stop])
    read = _from_json if wire == "json" else _from_toml
    return read(body, reading)


def _unfenced(body: str) -> str:
    stripped = body.strip()
    if stripped.startswith("```") and stripped.endswith("```"):
        line = stripped.find("\n")
        return stripped[line + 1 : -3].strip() if line >= 0 else stripped
    return stripped


def _from_json(body: str, reading: PlanReading) -> PlanReading:
    read = whole_json(body, 0, len(body))
    if read is None:
        return reading.reject("plan_malformed", reading.start, "The plan is not one JSON object.")
    reading.repairs.extend(read[1])
    return shaped(read[0], reading)


def _from_toml(body: str, reading: PlanReading) -> PlanReading:
    try:
        value = read_toml(body, MAX_TAGS)
    except TooManyMarks as error:
        return reading.reject("plan_too_large", reading.start, str(error))
    except ValueError as error:
        detail = str(error)[:160]
        return reading.reject("plan_malformed", reading.start, f"The plan is not TOML: {detail}.")
    for call in _entries(value):
        prompt = call.get("prompt")
        if isinstance(prompt, str):
            call["prompt"] = prompt.strip("\n")
    return shaped(value, reading)


def _entries(value: dict[str, Json]) -> list[dict[str, Json]]:
    calls = value.get("worker_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


class TooManyMarks(ValueError):
    """The text has more tables, keys and array entries than a plan needs."""


def read_toml(text: str, max_marks: int) -> dict[str, Json]:
    """The document in `text`.

    Raises `TooManyMarks` for more than `max_marks`, and `ValueError` for all that is not TOML, has
    a key of too many parts or nests too deeply.
    """
    bare = _TOML_TEXT.sub("", text)
    if len(_MARK.findall(bare)) > max_marks:
        raise TooManyMarks("The plan has too many tables, keys and entries. Plan fewer calls.")
    if any(line.count(".") > _MAX_DOTS for line in bare.split("\n")):
        raise ValueError("a key has too many dots")
    try:
        found: dict[str, Json] = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("values nest too deeply") from error
    return found


def read_tagged(
    text: str,
    opened: re.Match[str],
    stop: int,
    tags: PlanTags,
    ending: str,
    reading: PlanReading,
) -> PlanReading:
    names = "|".join(re.escape(name) for name in (tags.call, tags.thought, tags.more) if name)
    tail = re.escape(ending)
    table = TagTable(
        Window(text, opened.end(), stop, OfferedTools(None)),
        (
            (Kind.PARAM_OPEN, rf"<(?:{names}){tail}(?:\s[^<>]{{0,2048}})?>"),
            (Kind.PARAM_CLOSE, rf"</((?:{names})){tail}>"),
        ),
    )
    found: dict[str, Json] = {}
    calls: list[Json] = []
    attributes = read_attributes(opened.group(2))
    if f"{tags.prefix}continue" in attributes:
        found["continue"] = _as_bool(attributes[f"{tags.prefix}continue"])
    index, position = 0, opened.end()
    while index < len(table):
        tag = table.tags[index]
        if tag.kind is not Kind.PARAM_OPEN or text[position : tag.start].strip():
            message = "Text or a lone closing tag stands between the plan's tags."
            return reading.reject("plan_malformed", position, message)
        name = tag.text[1:].split(">")[0].split()[0].removesuffix(ending).rstrip("/")
        value_end, index = _value_end(table, index, name, reading)
        if index < 0:
            message = f"<{name}{ending}> is not closed before the next tag of the plan."
            return reading.reject("plan_unclosed", tag.start, message)
        position = (
            table.tags[index - 1].end if table.kind(index - 1) is Kind.PARAM_CLOSE else value_end
        )
        value = text[tag.end : value_end].strip("\n")
        if name == tags.call:
            calls.append(_call_entry(tag.text, value, tags.prefix))
        elif name == tags.more:
            found["continue"] = _as_bool(value)
        else:
            found["thought"] = value.strip()
    if text[position:stop].strip():
        return reading.reject("plan_malformed", position, "Text stands behind the plan's last tag.")
    found["worker_calls"] = calls
    return shaped(found, reading)


def _value_end(table: TagTable, index: int, name: str, reading: PlanReading) -> tuple[int, int]:
    """Where the value of tag `index` ends, and the tag behind it; a negative index if nowhere."""
    close = table.next_close[index + 1]
    steps = 0
    while close is not None and table.tags[close].carried != name and steps < _MAX_AHEAD:
        close = table.next_close[close + 1]
        steps += 1
    if close is not None and table.tags[close].carried != name:
        close = None
    if close is not None and table.surplus_open(index + 1, close) <= 0:
        return table.tags[close].start, close + 1
    limit = len(table) if close is None else close
    for position in range(index + 1, min(limit, index + _MAX_AHEAD)):
        tag = table.tags[position]
        line = table.text.rfind("\n", 0, tag.start)
        if tag.kind is Kind.PARAM_OPEN and not table.text[line + 1 : tag.start].strip():
            reading.repairs.append(Repair("missing_value_close", tag.start, name))
            return tag.start, position
    return (table.tags[close].start, close + 1) if close is not None else (0, -1)


def _call_entry(tag: str, prompt: str, prefix: str) -> dict[str, Json]:
    attributes = {
        key.removeprefix(prefix).replace("-", "_"): value
        for key, value in read_attributes(tag[1:].partition(" ")[2] or tag).items()
    }
    entry: dict[str, Json] = {
        "id": attributes.get("id", ""),
        "alias": attributes.get("alias", ""),
        "prompt": prompt,
        "depends_on": _names(attributes.get("depends_on", "")),
    }
    if needs := _names(attributes.get("needs", "")):
        entry["needs"] = needs
    if attributes.get("output_file"):
        entry["output_file"] = attributes["output_file"]
    return entry


def _names(listed: str) -> list[Json]:
    return [name for name in re.split(r"[\s,]+", listed) if name]


def _as_bool(text: str) -> Json:
    return {"true": True, "false": False, "": True}.get(text.strip().lower(), text)


def shaped(value: Json, reading: PlanReading) -> PlanReading:
    """Take `value` for the plan if it has a plan's form. `familiar.plan.read` checks its parts."""
    if not isinstance(value, dict) or not isinstance(value.setdefault("worker_calls", []), list):
        message = "The plan is not an object with `continue` and `worker_calls`."
        return reading.reject("plan_shape", reading.start, message)
    reading.plan = value
    return reading
