"""The one plan document in a text, in any of the plan wires, or why there is none.

A document that was opened and never closed, several documents, and the tags of another turn are
problems with a sentence each. `plan_body` reads the document itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice

from familiar.wire.jsontext import json_objects, repair_json, skip_space
from familiar.wire.limits import MAX_DOCUMENT_BYTES
from familiar.wire.plan_body import PlanReading, read_body, read_tagged, shaped
from familiar.wire.plan_wire import PLAN_TAGS, PlanTags
from familiar.wire.result import Json

_MAX_READS = 256


def read_any_plan(text: str) -> Mapping[str, Json] | None:
    """The plan, if all of `text` is one complete plan document, with or without suffix."""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if not text.startswith("<familiar", start):
        return None
    for wire in ("xml", "html", "json", "toml"):
        reading = read_plan(text, start, end, wire, None)
        if reading.plan is not None and (reading.start, reading.end) == (start, end):
            return reading.plan
    return None


def read_plan(text: str, start: int, end: int, wire: str, suffix: str | None) -> PlanReading:
    """The one plan in `text[start:end]`, or why there is none."""
    tags = PLAN_TAGS[wire]
    root = _root_pattern(tags, suffix)
    opened = root.search(text, start, end)
    reading = PlanReading(start=start, end=end)
    if opened is None and suffix and _root_pattern(tags, None).search(text, start, end):
        message = f"The plan's tags are not this turn's. {_missing(tags, suffix)}"
        return reading.reject("plan_stale", start, message)
    if opened is None:
        if wire == "json":
            return _bare_json(text, reading)
        if wire == "toml":
            return _bare_toml(text, reading)
        return reading.reject("plan_missing", start, _missing(tags, suffix))
    ending = opened.group(1) or ""
    closer = re.compile(rf"</{tags.root}{re.escape(ending)}>")
    closers = list(closer.finditer(text, opened.end(), end))
    reading.start = opened.start()
    if not closers:
        message = (
            f"The plan was opened and never closed with </{tags.root}{ending}>. Send it whole."
        )
        return reading.reject("plan_unclosed", opened.start(), message)
    if closers[-1].start() - opened.end() > MAX_DOCUMENT_BYTES:
        return reading.reject("plan_too_large", opened.start(), "The plan document is too large.")
    following = [root.match(text, skip_space(text, mark.end()), end) for mark in closers]
    if any(following) or root.search(text, closers[-1].end(), end):
        return reading.reject(
            "plan_repeated", closers[-1].end(), "Send exactly one plan, not several."
        )
    reading.end = closers[-1].end()
    if tags.call:
        return read_tagged(text, opened, closers[-1].start(), tags, ending, reading)
    return read_body(text, opened.end(), closers[-1].start(), wire, reading)


def quoting_plan(text: str, wire: str, suffix: str | None, offset: int) -> list[tuple[int, int]]:
    """Where the plan document stands that quotes the first reasoning mark, which is at `offset`; a
    closer before the mark ends another document."""
    tags = PLAN_TAGS[wire]
    opened = _root_pattern(tags, suffix).search(text, 0, offset)
    if opened is None:
        return [(low, high) for low, high, _ in _plan_objects(text)] if wire == "json" else []
    closer = f"</{tags.root}{opened.group(1) or ''}>"
    if text.find(closer, opened.end(), offset) >= 0:
        return []
    close = text.rfind(closer, offset)
    return [(opened.start(), close + len(closer))] if close >= 0 else []


def has_other_plan(text: str, begin: int, start: int, end: int) -> bool:
    """Whether a second plan object stands in `text[begin:]` outside of `text[start:end]`.

    One in tags of its own is another turn's, and quoted.
    """
    return any(
        "worker_calls" in piece and any(True for _ in _plan_objects(_without_tagged(piece)))
        for piece in (text[begin:start], text[end:])
    )


def _without_tagged(text: str) -> str:
    pieces: list[str] = []
    position = 0
    for opened in _root_pattern(PLAN_TAGS["json"], None).finditer(text):
        closer = f"</{PLAN_TAGS['json'].root}{opened.group(1) or ''}>"
        close = text.find(closer, opened.end()) if opened.start() >= position else -1
        if close >= 0:
            pieces.append(text[position : opened.start()])
            position = close + len(closer)
        elif opened.start() >= position:
            break
    return "".join([*pieces, text[position:]])


def _plan_objects(text: str, *, in_broken: bool = False) -> Iterator[tuple[int, int, Json]]:
    """Where whole plan objects stand in `text`, and each; few objects are looked at."""
    found = islice(json_objects(text, 0, len(text), in_broken=in_broken), _MAX_READS)
    return ((at, stop, value) for at, whole, value, stop in found if whole and _is_plan(value))


def _is_plan(value: Json) -> bool:
    return isinstance(value, dict) and ("worker_calls" in value or "continue" in value)


def _bare_json(text: str, reading: PlanReading) -> PlanReading:
    """A plan object without its tags, as engines with a JSON schema write it."""
    first, last = reading.start, reading.end
    found = next(_plan_objects(text[first:last], in_broken=True), None)
    if found is not None:
        reading.start, reading.end = first + found[0], first + found[1]
        return shaped(found[2], reading)
    head = skip_space(text, first)
    if text.startswith("{", head) and last - head <= MAX_DOCUMENT_BYTES:
        repaired = repair_json(text, head, last)
        if repaired is not None:
            reading.repairs.extend(repaired[2])
            return shaped(repaired[0], reading)
        return reading.reject("plan_malformed", head, "The plan is not one complete JSON object.")
    return reading.reject("plan_missing", reading.start, "No plan was found. Answer with one plan.")


def _bare_toml(text: str, reading: PlanReading) -> PlanReading:
    body = text[reading.start : reading.end]
    if "[[worker_calls]]" not in body and "continue" not in body:
        return reading.reject(
            "plan_missing", reading.start, "No plan was found. Answer with one plan."
        )
    if len(body) > MAX_DOCUMENT_BYTES:
        return reading.reject("plan_too_large", reading.start, "The plan document is too large.")
    return read_body(text, reading.start, reading.end, "toml", reading)


def _root_pattern(tags: PlanTags, suffix: str | None) -> re.Pattern[str]:
    ending = rf"(-{re.escape(suffix)})" if suffix else r"(-[0-9a-f]{4,16})?"
    return re.compile(rf"<{tags.root}{ending}((?:\s[^<>]{{0,512}})?)>")


def _missing(tags: PlanTags, suffix: str | None) -> str:
    name = f"{tags.root}-{suffix}" if suffix else tags.root
    return f"No plan was found. Answer with one plan between <{name}> and </{name}>."
