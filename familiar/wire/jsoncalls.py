"""Calls whose arguments, or the whole of them, are JSON: Hermes, Qwen 3, Granite, Llama 3, Mistral,
DeepSeek V3 and V3.1, Kimi K2.

A call is complete when its JSON value is; a missing closing marker is forgiven at the end of the
text or before the next call, since nothing of the call can then be lost. Bare JSON without any
markup is a call only where the dialect writes calls so, and where fenced, only for an offered
tool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from familiar.wire.found import (
    Block,
    Edges,
    FoundCall,
    TooManyTags,
    Window,
    rejected,
    scan_each,
    typed_arguments,
)
from familiar.wire.jsontext import ending_at, json_objects, read_json, repair_json, skip_space
from familiar.wire.limits import MAX_CALLS
from familiar.wire.result import Json, Problem, Repair

# A failed read costs a count of the lines before it (for a message nobody sees), so reads are few.
_MAX_FAILED_READS = 128
_LEAD_IN = re.compile(r"<\|python_tag\|>")
_ARGUMENTS = ("arguments", "parameters")
_CALL_KEYS = frozenset({*_ARGUMENTS, "function"})
"""Without any of these an object is no call."""


def as_call(value: Json, start: int, end: int) -> FoundCall | None:
    """`{"name": …, "arguments": {…}}` as a call; arguments may be an object in a string. The forms
    of APIs, with `function` for the name or around both, are calls to offered tools alone."""
    if not isinstance(value, dict) or _CALL_KEYS.isdisjoint(value):
        return None
    function = value.get("function")
    if isinstance(function, dict):
        value = {"id": value.get("id"), **function}
    name = value.get("name", function)
    if not isinstance(name, str) or not name:
        return None
    given = next((value[key] for key in _ARGUMENTS if key in value), None)
    if isinstance(given, str):
        decoded = read_json(given, skip_space(given, 0))
        given = decoded[0] if decoded is not None else given
    arguments = typed_arguments(given)
    if arguments is None:
        return None
    identity = value.get("id")
    call = FoundCall(name, arguments, start, end, needs_offer=function is not None)
    call.id = identity if isinstance(identity, str) else ""
    return call


class _Body(NamedTuple):
    """A JSON value behind an opener, and whether its closing mark follows."""

    value: Json
    end: int
    repairs: list[Repair]
    closed: bool


def _read_body(
    window: Window, edges: Edges, block: Block, position: int, kinds: type | tuple[type, ...]
) -> _Body | None:
    """The value at `position`, if it is one of `kinds`; `block` then ends behind it and its mark.
    Otherwise `block` has a problem and ends with what cannot be read."""
    text = window.text
    found = read_json(text, position) if position < window.end else None
    repairs: list[Repair] = []
    if found is None or found[1] > window.end or not isinstance(found[0], kinds):
        stop, after, closed = edges.region(position)
        repaired = repair_json(text, position, stop)
        if repaired is None or not isinstance(repaired[0], kinds):
            block.problems.append(_malformed(block.start, closed))
            block.end = after
            block.keep_text = not closed
            return None
        found, repairs = repaired[:2], repaired[2]
    value, end = found
    ending, stray = ending_at(edges.close, text, end, window.end)
    block.end = ending.end() if ending else end
    if stray:
        repairs = [*repairs, Repair("stray_brackets", end)]
    return _Body(value, end, repairs, ending is not None)


@dataclass(frozen=True, slots=True)
class JsonSyntax:
    """`<open> {"name": …, "arguments": {…}} </close>`: the whole call is one JSON value.

    With `bare`, the object may stand anywhere in the text without markup.
    """

    open: str
    close: str
    array_only: bool = False
    bare: bool = False
    separator: str = ""

    def scan(self, window: Window) -> list[Block]:
        if self.bare:
            return _scan_bare(window, self)
        edges = Edges(window, self.open, self.close)

        def read(match: re.Match[str]) -> Block | None:
            body = skip_space(window.text, match.end())
            character = window.text[body : body + 1] if body < window.end else ""
            if character == "[" or (character == "{" and not self.array_only):
                return self._wrapped(window, edges, match, body)
            return _no_json(window, edges, match, body)

        return scan_each(window, edges.opener, read)

    def _wrapped(self, window: Window, edges: Edges, match: re.Match[str], body: int) -> Block:
        block = Block(match.start(), match.end())
        read = _read_body(window, edges, block, body, (dict, list))
        if read is None:
            return block
        listed = isinstance(read.value, list)
        values = read.value if isinstance(read.value, list) else [read.value]
        closed = read.closed
        if not closed:
            more, closed = _more_objects(window, edges, block, read.end)
            values = [*values, *more]
        calls = [call for item in values if (call := _wrapped_call(item, body, read.end))]
        if not calls or len(calls) < len(values):
            block.problems.append(_malformed(match.start(), closed=True))
            return block
        for call in calls:
            call.closed = closed or listed
            call.repairs.extend(read.repairs)
        block.calls = calls
        if not (closed or listed) and "tool_call>" in self.close:
            calls[0].repairs.append(Repair("missing_wrapper_close", read.end))
        return block


def _wrapped_call(value: Json, start: int, end: int) -> FoundCall | None:
    """A call inside of its markup, which may leave out empty arguments."""
    if isinstance(value, dict) and "name" in value and {*value} <= {"name", "id", "type"}:
        value = {**value, "arguments": {}}
    return as_call(value, start, end)


def _more_objects(
    window: Window, edges: Edges, block: Block, position: int
) -> tuple[list[Json], bool]:
    """Objects behind the first one of a wrapper up to its closer, and whether it closes. What
    cannot be read there is a problem of `block`."""
    text = window.text
    found: list[Json] = []
    while text.startswith("{", start := skip_space(text, position)):
        read = read_json(text, start)
        if read is None or read[1] > window.end or len(found) > MAX_CALLS:
            block.problems.append(_malformed(start, closed=True))
            return [], False
        found.append(read[0])
        position = read[1]
    ending = edges.close.match(text, start, window.end)
    if found and ending is not None:
        block.end = ending.end()
        return found, True
    return [], False


@dataclass(frozen=True, slots=True)
class HeadSyntax:
    """`<open> HEAD <separator> {json} <close>`: only the arguments are JSON.

    `open` carries the head in group 1. `sections` are the markers around all calls, which `open`
    and `close` match as well. With `numbered`, the head is `functions.NAME:INDEX`.
    """

    open: str
    close: str
    sections: tuple[str, ...] = ()
    numbered: bool = False

    def scan(self, window: Window) -> list[Block]:
        edges = Edges(window, self.open, self.close)
        blocks = scan_each(window, edges.opener, lambda head: self._headed(window, edges, head))
        return blocks or _unfinished_head(window, self)

    def _headed(self, window: Window, edges: Edges, head: re.Match[str]) -> Block:
        block = Block(head.start(), head.end())
        body = skip_space(window.text, head.end())
        read = _read_body(window, edges, block, body, dict)
        if read is None:
            return block
        written = head.group(1).strip()
        name = _kimi_name(window, written) if self.numbered else written
        arguments = typed_arguments(read.value) or []
        call = FoundCall(name, arguments, head.start(), block.end, closed=read.closed)
        call.id = written if self.numbered else (head.groups()[1:] or ("",))[0] or ""
        call.repairs.extend(read.repairs)
        if self.numbered and not written.startswith(f"functions.{name}:"):
            call.repairs.append(Repair("mangled_id", head.start(1), written))
        block.calls.append(call)
        return block


def _no_json(window: Window, edges: Edges, match: re.Match[str], body: int) -> Block | None:
    """An opener without a JSON body: an empty block, a foreign body, or a word in prose."""
    closer = edges.close.match(window.text, body, window.end)
    if closer is not None:
        return Block(match.start(), closer.end())
    if body < window.end and window.text[body] not in "{[":
        return None
    message = "The call does not hold JSON of the form this dialect asks for. Write it again."
    return rejected("malformed_call", match.start(), match.end(), message)


def _malformed(offset: int, closed: bool) -> Problem:
    if closed:
        message = "The call's JSON cannot be read. Write the call again as valid JSON."
        return Problem("malformed_json", offset, message)
    message = "The call's JSON stops before its end. Write the whole call again, or a smaller one."
    return Problem("unterminated_call", offset, message)


def _scan_bare(window: Window, syntax: JsonSyntax) -> list[Block]:
    """Every complete call object in the text.

    What stands inside an object that cannot be read, or inside the arguments of something else, is
    no call of its own.
    """
    text, blocks = window.text, []
    broken: list[Block] = []
    failed = 0
    end_of_calls = _foreign_call(window, broken)
    for start, complete, item, end in json_objects(text, window.start, end_of_calls):
        if not complete:
            failed += 1
            if failed > _MAX_FAILED_READS:
                raise TooManyTags
            if _begins_call(text[start:end]):
                closed = text[end : window.end].strip() != ""
                problem = _malformed(start, closed)
                broken.append(Block(start, end, problems=[problem], keep_text=True))
            continue
        call = as_call(item, start, end)
        nested = start > window.start and text[start - 1] in "=("
        if call is not None and end <= window.end and not nested:
            blocks.append(_unmarked(window, syntax, call))
            if len(blocks) > MAX_CALLS:
                break
    head = skip_space(text, window.start)
    if not blocks and text.startswith(('{"name"', "<|python_tag|>"), head):
        call = _repaired_whole(window, head)
        if call is not None:
            return [_unmarked(window, syntax, call)]
        if not broken and read_json(text, head) is None:
            problem = _malformed(head, closed=text.rstrip().endswith("}"))
            return [Block(head, window.end, problems=[problem], keep_text=True)]
    return sorted([*blocks, *broken], key=lambda block: block.start)


def _begins_call(piece: str) -> bool:
    return '"name"' in piece and any(f'"{key}"' in piece for key in _ARGUMENTS)


def _foreign_call(window: Window, broken: list[Block]) -> int:
    """Where the part ends that may hold objects: before a lead-in that no object follows."""
    for mark in _LEAD_IN.finditer(window.text, window.start, window.end):
        body = skip_space(window.text, mark.end())
        if body >= window.end or window.text[body] in "{[":
            continue
        message = "The call is not the JSON object that this dialect asks for. Write it again."
        broken.append(rejected("malformed_call", mark.start(), window.end, message))
        return mark.start()
    return window.end


def _repaired_whole(window: Window, head: int) -> FoundCall | None:
    repaired = repair_json(window.text, head, window.end)
    call = as_call(repaired[0], head, repaired[1]) if repaired is not None else None
    if repaired is not None and call is not None:
        call.repairs.extend(repaired[2])
    return call


def _unmarked(window: Window, syntax: JsonSyntax, call: FoundCall) -> Block:
    """A block for a bare object, with its lead-in token and its separator."""
    start, end = call.start, call.end
    lead = window.text.rfind("<|python_tag|>", max(window.start, start - 64), start)
    if lead >= 0 and not window.text[lead + 14 : start].strip():
        start = lead
    following = skip_space(window.text, end)
    if syntax.separator and window.text.startswith(syntax.separator, following):
        end = following + len(syntax.separator)
    elif mark := re.compile(syntax.close).match(window.text, following, window.end):
        end = mark.end()
    return Block(start, end, [call], unmarked=start == call.start)


def _unfinished_head(window: Window, syntax: HeadSyntax) -> list[Block]:
    """A section that was opened and holds no call that could be read."""
    if not syntax.sections:
        return []
    opener, closer = (re.compile(section) for section in syntax.sections)
    match = opener.search(window.text, window.start, window.end)
    if match is None:
        return []
    ending = closer.match(window.text, skip_space(window.text, match.end()))
    if ending is not None:
        return [Block(match.start(), ending.end())]
    problem = _malformed(match.start(), closed=False)
    return [Block(match.start(), window.end, problems=[problem], keep_text=True)]


def _kimi_name(window: Window, written: str) -> str:
    """`functions.NAME:INDEX`, or a mangled spelling of it that an offered name explains."""
    canonical = written.removeprefix("functions.").rsplit(":", 1)[0]
    offered = window.offered
    if not offered or canonical in offered:
        return canonical
    bare = written
    for prefix in ("functions.", "functions_", "functions", "function.", "function_"):
        if bare.startswith(prefix):
            bare = bare.removeprefix(prefix)
            break
    if bare in offered:
        return bare
    trimmed = bare.rstrip("0123456789")
    for candidate in (trimmed, trimmed.rstrip(":_")):
        if candidate in offered:
            return candidate
    return canonical if trimmed else ""
