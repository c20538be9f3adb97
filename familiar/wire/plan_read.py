"""Reading a plan document out of a text, in any of the plan wires.

A document is whole or it is no plan: an opened root that never closes, a call without id, alias
or prompt, a value of the wrong kind are problems with a sentence each. In the tag wires a closing
tag counts only before a structural boundary (the next tag of the wire, the root's end, the text's
end), so a prompt may quote the wire. Text is taken as it is; entities are not decoded. Mended are
only a forgotten closer before a sibling that starts a line, and the quoting of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from familiar.wire.attributes import read_attributes
from familiar.wire.found import Window
from familiar.wire.jsontext import attempt_json, read_json, repair_json, skip_space
from familiar.wire.plan_toml import TooManyMarks, read_toml
from familiar.wire.plan_wire import PLAN_TAGS, PlanTags
from familiar.wire.result import Json, Limits, Problem, Repair
from familiar.wire.tokens import Kind, TagTable

_OBJECT = re.compile(r"\{(?=\s{0,64}\")")
_FENCED_TOML = re.compile(r"\s*```(?:toml)?[ \t]*\n")
_MAX_ATTEMPTS = 256
_TEXT_KEYS = ("id", "alias", "prompt")


@dataclass(slots=True)
class PlanReading:
    """A plan and where it stood, or the problems that kept it from being one."""

    plan: Mapping[str, Json] | None = None
    start: int = 0
    end: int = 0
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, name: str, offset: int, message: str) -> PlanReading:
        """Record why there is no plan."""
        self.plan = None
        self.problems.append(Problem(name, offset, message))
        return self


def read_any_plan(text: str, limits: Limits) -> Mapping[str, Json] | None:
    """The plan, if all of `text` is one complete plan document, with or without suffix."""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if not text.startswith("<familiar", start):
        return None
    for wire in ("xml", "html", "json", "toml"):
        reading = read_plan(text, start, end, wire, None, limits)
        if reading.plan is not None and (reading.start, reading.end) == (start, end):
            return reading.plan
    return None


def read_plan(
    text: str, start: int, end: int, wire: str, suffix: str | None, limits: Limits
) -> PlanReading:
    """The one plan in `text[start:end]`, or why there is none."""
    tags = PLAN_TAGS[wire]
    root = _root_pattern(tags, suffix)
    opened = root.search(text, start, end)
    reading = PlanReading(start=start, end=end)
    if opened is None and suffix and _root_pattern(tags, None).search(text, start, end):
        message = f"The plan's tags are not this turn's. {_missing(tags, suffix)}"
        return reading.refuse("plan_stale", start, message)
    if opened is None:
        if wire == "json":
            return _bare_json(text, reading, limits)
        if wire == "toml":
            return _bare_toml(text, reading, limits)
        return reading.refuse("plan_missing", start, _missing(tags, suffix))
    ending = opened.group(1) or ""
    closer = re.compile(rf"</{tags.root}{re.escape(ending)}>")
    closers = list(closer.finditer(text, opened.end(), end))
    reading.start = opened.start()
    if not closers:
        message = (
            f"The plan was opened and never closed with </{tags.root}{ending}>. Send it whole."
        )
        return reading.refuse("plan_unclosed", opened.start(), message)
    if closers[-1].start() - opened.end() > limits.max_document_bytes:
        return reading.refuse("plan_too_large", opened.start(), "The plan document is too large.")
    following = [root.match(text, skip_space(text, mark.end()), end) for mark in closers]
    if any(following) or root.search(text, closers[-1].end(), end):
        return reading.refuse(
            "plan_repeated", closers[-1].end(), "Send exactly one plan, not several."
        )
    reading.end = closers[-1].end()
    if tags.call:
        return _tagged(text, opened, closers[-1].start(), tags, ending, reading, limits)
    body = _unfenced(text[opened.end() : closers[-1].start()])
    read = _from_json if wire == "json" else _from_toml
    return read(body, reading, limits)


class QuotedInPlan:
    """The plan document of a text, found once and only if a reasoning mark asks for it."""

    def __init__(self, text: str, wire: str, suffix: str | None) -> None:
        self._text = text
        self._wire = wire
        self._suffix = suffix
        self._spans: list[tuple[int, int]] | None = None

    def end(self, offset: int) -> int:
        """The end of the document around `offset`, or a negative number."""
        if self._spans is None:
            self._spans = self._find(offset)
        return next((stop for start, stop in self._spans if start <= offset < stop), -1)

    def _find(self, offset: int) -> list[tuple[int, int]]:
        """The document around the first mark; a closer before the mark ends another document."""
        text, tags = self._text, PLAN_TAGS[self._wire]
        opened = _root_pattern(tags, self._suffix).search(text, 0, offset)
        if opened is None:
            return _plan_objects(text) if self._wire == "json" else []
        closer = f"</{tags.root}{opened.group(1) or ''}>"
        if text.find(closer, opened.end(), offset) >= 0:
            return []
        close = text.rfind(closer, offset)
        return [(opened.start(), close + len(closer))] if close >= 0 else []


def has_other_plan(text: str, begin: int, start: int, end: int) -> bool:
    """Whether a second plan object stands in `text[begin:]` outside of `text[start:end]`."""
    return any(
        "worker_calls" in piece and _plan_objects(piece)
        for piece in (text[begin:start], text[end:])
    )


def _plan_objects(text: str) -> list[tuple[int, int]]:
    """Where whole plan objects stand in `text`, a handful at most."""
    found: list[tuple[int, int]] = []
    position, attempts = 0, 0
    while attempts < _MAX_ATTEMPTS and len(found) < 8:
        match = _OBJECT.search(text, position)
        if match is None:
            break
        complete, value, end = attempt_json(text, match.start())
        if complete and _is_plan(value):
            found.append((match.start(), end))
        attempts += 1
        position = max(end, match.start() + 1)
    return found


def _is_plan(value: Json) -> bool:
    return isinstance(value, dict) and ("worker_calls" in value or "continue" in value)


def _root_pattern(tags: PlanTags, suffix: str | None) -> re.Pattern[str]:
    ending = rf"(-{re.escape(suffix)})" if suffix else r"(-[0-9a-f]{4,16})?"
    return re.compile(rf"<{tags.root}{ending}((?:\s[^<>]{{0,512}})?)>")


def _missing(tags: PlanTags, suffix: str | None) -> str:
    name = f"{tags.root}-{suffix}" if suffix else tags.root
    return f"No plan was found. Answer with one plan between <{name}> and </{name}>."


def _unfenced(body: str) -> str:
    stripped = body.strip()
    if stripped.startswith("```") and stripped.endswith("```"):
        line = stripped.find("\n")
        return stripped[line + 1 : -3].strip() if line >= 0 else stripped
    return stripped


def _from_json(body: str, reading: PlanReading, limits: Limits) -> PlanReading:
    found = read_json(body, 0) if body else None
    if found is None or body[found[1] :].strip():
        mended = repair_json(body, 0, len(body))
        if mended is None or body[mended[1] :].strip():
            return reading.refuse(
                "plan_malformed", reading.start, "The plan is not one JSON object."
            )
        reading.repairs.extend({repair.name: repair for repair in mended[2]}.values())
        found = (mended[0], mended[1])
    return _shaped(found[0], reading, limits)


def _from_toml(body: str, reading: PlanReading, limits: Limits) -> PlanReading:
    try:
        value = read_toml(body, limits.max_tags)
    except TooManyMarks as error:
        return reading.refuse("plan_too_large", reading.start, str(error))
    except ValueError as error:
        detail = str(error)[:160]
        return reading.refuse("plan_malformed", reading.start, f"The plan is not TOML: {detail}.")
    for call in _entries(value):
        prompt = call.get("prompt")
        if isinstance(prompt, str):
            call["prompt"] = prompt.strip("\n")
    return _shaped(value, reading, limits)


def _entries(value: dict[str, Json]) -> list[dict[str, Json]]:
    calls = value.get("worker_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _bare_json(text: str, reading: PlanReading, limits: Limits) -> PlanReading:
    """A plan object without its tags, as engines with a JSON schema write it."""
    position, attempts = reading.start, 0
    budget = 4 * (reading.end - reading.start) + 4096
    last = reading.end
    while (match := _OBJECT.search(text, position, last)) is not None:
        complete, value, end = attempt_json(text, match.start())
        if complete and _is_plan(value):
            reading.start, reading.end = match.start(), end
            return _shaped(value, reading, limits)
        attempts += 1
        budget -= end - match.start()
        if attempts > _MAX_ATTEMPTS or budget < 0:
            break
        position = end if complete else match.start() + 1
    head = skip_space(text, reading.start)
    if text.startswith("{", head) and last - head <= limits.max_document_bytes:
        mended = repair_json(text, head, last)
        if mended is not None:
            reading.repairs.extend({repair.name: repair for repair in mended[2]}.values())
            return _shaped(mended[0], reading, limits)
        return reading.refuse("plan_malformed", head, "The plan is not one complete JSON object.")
    return reading.refuse("plan_missing", reading.start, "No plan was found. Answer with one plan.")


def _bare_toml(text: str, reading: PlanReading, limits: Limits) -> PlanReading:
    body = text[reading.start : reading.end]
    if "[[worker_calls]]" not in body and "continue" not in body:
        return reading.refuse(
            "plan_missing", reading.start, "No plan was found. Answer with one plan."
        )
    if len(body) > limits.max_document_bytes:
        return reading.refuse("plan_too_large", reading.start, "The plan document is too large.")
    return _from_toml(_unfenced(body), reading, limits)


def _tagged(
    text: str,
    opened: re.Match[str],
    stop: int,
    tags: PlanTags,
    ending: str,
    reading: PlanReading,
    limits: Limits,
) -> PlanReading:
    names = "|".join(re.escape(name) for name in (tags.call, tags.thought, tags.more) if name)
    tail = re.escape(ending)
    table = TagTable(
        Window(text, opened.end(), stop, limits),
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
            return reading.refuse("plan_malformed", position, message)
        name = tag.text[1:].split(">")[0].split()[0].removesuffix(ending).rstrip("/")
        value_end, index = _value_end(table, index, name, reading)
        if index < 0:
            message = f"<{name}{ending}> is not closed before the next tag of the plan."
            return reading.refuse("plan_unclosed", tag.start, message)
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
        return reading.refuse("plan_malformed", position, "Text stands behind the plan's last tag.")
    found["worker_calls"] = calls
    return _shaped(found, reading, limits)


def _value_end(table: TagTable, index: int, name: str, reading: PlanReading) -> tuple[int, int]:
    """Where the value of tag `index` ends, and the tag behind it; a negative index if nowhere."""
    close = table.next_close[index + 1]
    steps = 0
    while close is not None and table.tags[close].carried != name and steps < _MAX_ATTEMPTS:
        close = table.next_close[close + 1]
        steps += 1
    if close is not None and table.tags[close].carried != name:
        close = None
    if close is not None and not table.unbalanced(index + 1, close):
        return table.tags[close].start, close + 1
    limit = len(table) if close is None else close
    for position in range(index + 1, min(limit, index + _MAX_ATTEMPTS)):
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
        "depends_on": [*re.split(r"[\s,]+", attributes.get("depends_on", "").strip())],
    }
    entry["depends_on"] = [
        name for name in re.split(r"[\s,]+", attributes.get("depends_on", "")) if name
    ]
    needs = [name for name in re.split(r"[\s,]+", attributes.get("needs", "")) if name]
    if needs:
        entry["needs"] = [*needs]
    if attributes.get("output_file"):
        entry["output_file"] = attributes["output_file"]
    return entry


def _as_bool(text: str) -> Json:
    return {"true": True, "false": False, "": True}.get(text.strip().lower(), text)


def _shaped(value: Json, reading: PlanReading, limits: Limits) -> PlanReading:
    """Check the plan's shape; everything beside the known keys is handed on as it is.

    The check stops at the first call behind `max_problems`: no more of them are handed on.
    """
    offset = reading.start
    if not isinstance(value, dict):
        return reading.refuse("plan_shape", offset, "The plan is not an object.")
    plan = dict(value)
    calls = plan.setdefault("worker_calls", [])
    if not isinstance(plan.get("continue"), bool):
        reading.refuse("plan_shape", offset, "`continue` must be true or false.")
    if not isinstance(calls, list):
        return reading.refuse("plan_shape", offset, "`worker_calls` must be a list.")
    checked: list[Json] = []
    for index, call in enumerate(calls):
        if len(reading.problems) >= limits.max_problems:
            break
        if not isinstance(call, dict):
            reading.refuse("plan_shape", offset, f"Worker call {index} is not an object.")
            continue
        entry = {"depends_on": [], **call}
        for key in _TEXT_KEYS:
            if not isinstance(entry.get(key), str) or not str(entry[key]).strip():
                reading.refuse("plan_shape", offset, f"Worker call {index} lacks `{key}`.")
        depends = entry["depends_on"]
        if not isinstance(depends, list) or not all(isinstance(name, str) for name in depends):
            reading.refuse(
                "plan_shape", offset, f"Worker call {index}: `depends_on` must list ids."
            )
        if not isinstance(entry.get("output_file", ""), str | None):
            reading.refuse(
                "plan_shape", offset, f"Worker call {index}: `output_file` must be text."
            )
        checked.append(entry)
    plan["worker_calls"] = checked
    if not reading.problems:
        reading.plan = plan
    return reading
