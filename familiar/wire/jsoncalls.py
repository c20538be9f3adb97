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
from functools import lru_cache

from familiar.wire.found import (
    Ahead,
    Block,
    FoundCall,
    TooManyTags,
    Window,
    scan_each,
    typed_arguments,
)
from familiar.wire.jsontext import attempt_json, ending_at, read_json, repair_json, skip_space
from familiar.wire.result import Json, Problem, Repair

_OBJECT = re.compile(r"\{(?=\s{0,64}\")")
# A failed read costs a count of the lines before it (for a message nobody sees), so reads are few.
_MAX_FAILED_READS = 128
_LEAD_IN = re.compile(r"<\|python_tag\|>")


@lru_cache(maxsize=64)
def _pattern(source: str) -> re.Pattern[str]:
    return re.compile(source)


def as_call(
    value: Json, start: int, end: int, keys: tuple[str, ...] = ("arguments", "parameters")
) -> FoundCall | None:
    """`{"name": …, "arguments": {…}}` as a call; arguments may be an object in a string."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return None
    key = next((key for key in keys if key in value), None)
    if key is None:
        return None
    given = value[key]
    if isinstance(given, str):
        decoded = read_json(given, skip_space(given, 0))
        given = decoded[0] if decoded is not None else given
    arguments = typed_arguments(given)
    if arguments is None:
        return None
    identity = value.get("id")
    return FoundCall(
        str(value["name"]), arguments, start, end, id=identity if isinstance(identity, str) else ""
    )


@dataclass(frozen=True, slots=True)
class JsonSyntax:
    """`<open> {"name": …, "arguments": {…}} </close>`: the whole call is one JSON value.

    With `bare`, the object may stand anywhere in the text without markup.
    """

    open: str = ""
    close: str = ""
    argument_keys: tuple[str, ...] = ("arguments", "parameters")
    array_only: bool = False
    bare: bool = False
    separator: str = ""

    def scan(self, window: Window) -> list[Block]:
        """Blocks whose body is a whole call, or a list of them, in JSON."""
        if self.bare:
            return _scan_bare(window, self)
        opener = Ahead(_pattern(self.open), window.text, window.end)
        closer = Ahead(_pattern(self.close), window.text, window.end)

        def read(match: re.Match[str]) -> Block | None:
            body = skip_space(window.text, match.end())
            character = window.text[body : body + 1] if body < window.end else ""
            if character == "[" or (character == "{" and not self.array_only):
                return _wrapped(window, self, closer, opener, match, body)
            return _no_json(window, self, match, body)

        return scan_each(window, opener, read)


@dataclass(frozen=True, slots=True)
class HeadSyntax:
    """`<open> HEAD <separator> {json} <close>`: only the arguments are JSON.

    `open` carries the head in group 1. `sections` are markers around the calls that mean nothing
    on their own. With `numbered`, the head is `functions.NAME:INDEX`.
    """

    open: str
    close: str
    sections: tuple[str, ...] = ()
    numbered: bool = False

    def scan(self, window: Window) -> list[Block]:
        """Calls whose head stands before a separator and whose arguments are a JSON object."""
        opener = Ahead(_pattern(self.open), window.text, window.end)
        closer = Ahead(_pattern(self.close), window.text, window.end)
        edge = window.start

        def read(head: re.Match[str]) -> Block:
            nonlocal edge
            following = opener.at(head.end())
            limit = following.start() if following is not None else window.end
            block = _headed(window, self, closer, head, limit)
            _widen(window, self, block, edge)
            edge = block.end
            return block

        return scan_each(window, opener, read) or _unfinished_head(window, self)


def _no_json(window: Window, syntax: JsonSyntax, match: re.Match[str], body: int) -> Block | None:
    """An opener without a JSON body: an empty block, a foreign body, or a word in prose."""
    closer = _pattern(syntax.close).match(window.text, body, window.end)
    if closer is not None:
        return Block(match.start(), closer.end())
    if body < window.end and window.text[body] not in "{[":
        return None
    message = "The call does not hold JSON of the form this dialect asks for. Write it again."
    problem = Problem("malformed_call", match.start(), message)
    return Block(match.start(), match.end(), problems=[problem], keep_text=True)


def _wrapped(
    window: Window,
    syntax: JsonSyntax,
    closer: Ahead,
    opener: Ahead,
    match: re.Match[str],
    body: int,
) -> Block:
    block = Block(match.start(), match.end())
    found = read_json(window.text, body)
    repairs: list[Repair] = []
    if found is None or found[1] > window.end:
        stop, after, closed = _region(window, closer, opener, body)
        repaired = repair_json(window.text, body, stop, window.limits)
        if repaired is not None:
            found, repairs = repaired[:2], repaired[2]
        if found is None or found[1] > window.end:
            block.problems.append(_malformed(match.start(), closed))
            block.end = after
            block.keep_text = not closed
            return block
    value, end = found
    values = value if isinstance(value, list) else [value]
    calls = [as_call(item, body, end, syntax.argument_keys) for item in values]
    ending, stray = ending_at(_pattern(syntax.close), window.text, end, window.end)
    block.end = ending.end() if ending else end
    if stray:
        repairs = [*repairs, Repair("stray_brackets", end)]
    if not calls or any(call is None for call in calls):
        block.problems.append(_malformed(match.start(), closed=True))
        return block
    for call in calls:
        if call is not None:
            call.closed = ending is not None or isinstance(value, list)
            call.repairs.extend(repairs)
            call.needs_offer = bool(repairs)
            block.calls.append(call)
    if ending is None and "tool_call>" in syntax.close and not isinstance(value, list):
        block.repairs.append(Repair("missing_wrapper_close", end))
    return block


def _region(window: Window, closer: Ahead, opener: Ahead, body: int) -> tuple[int, int, bool]:
    """Where a body that does not read as JSON ends: its text, its block, and whether it closed."""
    ending = closer.at(body)
    following = opener.at(body)
    if ending is not None and (following is None or ending.start() < following.start()):
        return ending.start(), ending.end(), True
    stop = following.start() if following is not None else window.end
    return stop, stop, False


def _malformed(offset: int, closed: bool) -> Problem:
    if closed:
        message = "The call's JSON cannot be read. Write the call again as valid JSON."
        return Problem("malformed_json", offset, message)
    message = "The call's JSON stops before its end. Write the whole call again, or a smaller one."
    return Problem("unterminated_call", offset, message)


def _scan_bare(window: Window, syntax: JsonSyntax) -> list[Block]:
    """Every complete call object in the text; the work is capped at a few passes over it.

    What stands inside an object that cannot be read, or inside the arguments of something else, is
    no call of its own.
    """
    text, blocks = window.text, []
    broken: list[Block] = []
    budget = 4 * (window.end - window.start) + 4096
    position, failed = window.start, 0
    end_of_calls = _foreign_call(window, broken)
    while (match := _OBJECT.search(text, position, end_of_calls)) is not None:
        start = match.start()
        complete, item, end = attempt_json(text, start)
        if not complete:
            budget -= end - start
            failed += 1
            if budget < 0 or failed > _MAX_FAILED_READS:
                raise TooManyTags
            if _begins_call(text[start:end], syntax):
                closed = text[end : window.end].strip() != ""
                broken.append(Block(start, end, problems=[_malformed(start, closed)]))
                broken[-1].keep_text = True
            position = max(end, start + 1)
            continue
        position = end
        call = as_call(item, start, end, syntax.argument_keys)
        nested = start > window.start and text[start - 1] in "=("
        if call is not None and end <= window.end and not nested:
            blocks.append(_unmarked(window, syntax, call))
            if len(blocks) > window.limits.max_calls:
                break
    head = skip_space(text, window.start)
    if not blocks and text.startswith(('{"name"', "<|python_tag|>"), head):
        call = _repaired_whole(window, syntax, head)
        if call is not None:
            return [_unmarked(window, syntax, call)]
        if not broken and read_json(text, head) is None:
            problem = _malformed(head, closed=text.rstrip().endswith("}"))
            return [Block(head, window.end, problems=[problem], keep_text=True)]
    return sorted([*blocks, *broken], key=lambda block: block.start)


def _begins_call(piece: str, syntax: JsonSyntax) -> bool:
    return '"name"' in piece and any(f'"{key}"' in piece for key in syntax.argument_keys)


def _foreign_call(window: Window, broken: list[Block]) -> int:
    """Where the part ends that may hold objects: before a lead-in that no object follows."""
    for mark in _LEAD_IN.finditer(window.text, window.start, window.end):
        body = skip_space(window.text, mark.end())
        if body >= window.end or window.text[body] in "{[":
            continue
        message = "The call is not the JSON object that this dialect asks for. Write it again."
        problem = Problem("malformed_call", mark.start(), message)
        broken.append(Block(mark.start(), window.end, problems=[problem], keep_text=True))
        return mark.start()
    return window.end


def _repaired_whole(window: Window, syntax: JsonSyntax, head: int) -> FoundCall | None:
    repaired = repair_json(window.text, head, window.end, window.limits)
    if repaired is None:
        return None
    call = as_call(repaired[0], head, repaired[1], syntax.argument_keys)
    if call is not None:
        call.repairs.extend(repaired[2])
        call.needs_offer = True
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
    elif syntax.close and (
        mark := _pattern(syntax.close).match(window.text, following, window.end)
    ):
        end = mark.end()
    return Block(start, end, [call], unmarked=start == call.start)


def _unfinished_head(window: Window, syntax: HeadSyntax) -> list[Block]:
    """A section that was opened and holds no call that could be read."""
    if not syntax.sections:
        return []
    match = _pattern(syntax.sections[0]).search(window.text, window.start, window.end)
    if match is None:
        return []
    ending = _pattern(syntax.sections[1]).match(window.text, skip_space(window.text, match.end()))
    if ending is not None:
        return [Block(match.start(), ending.end())]
    problem = _malformed(match.start(), closed=False)
    return [Block(match.start(), window.end, problems=[problem], keep_text=True)]


def _headed(
    window: Window, syntax: HeadSyntax, closer: Ahead, head: re.Match[str], limit: int
) -> Block:
    text = window.text
    block = Block(head.start(), head.end())
    body = skip_space(text, head.end())
    found = read_json(text, body) if body < window.end else None
    repairs: list[Repair] = []
    if found is None or found[1] > window.end or not isinstance(found[0], dict):
        ending = closer.at(body)
        if ending is not None and ending.end() > limit:
            ending = None
        stop = ending.start() if ending else limit
        found = None
        repaired = repair_json(text, body, stop, window.limits)
        if repaired is not None and isinstance(repaired[0], dict):
            found, repairs = repaired[:2], repaired[2]
        if found is None:
            block.problems.append(_malformed(head.start(), ending is not None))
            block.end = ending.end() if ending else limit
            block.keep_text = ending is None
            return block
    value, end = found
    ending, stray = ending_at(_pattern(syntax.close), text, end, window.end)
    block.end = ending.end() if ending else end
    if stray:
        repairs = [*repairs, Repair("stray_brackets", end)]
    written = head.group(1).strip()
    name = _kimi_name(window, written) if syntax.numbered else written
    arguments = typed_arguments(value) or []
    call = FoundCall(name, arguments, head.start(), block.end, closed=ending is not None)
    call.id = written if syntax.numbered else (head.groups()[1:] or ("",))[0] or ""
    call.repairs.extend(repairs)
    call.needs_offer = bool(repairs)
    plain = f"functions.{name}:"
    if syntax.numbered and not written.startswith(plain):
        call.repairs.append(Repair("mangled_id", head.start(1), written))
        call.needs_offer = window.offered is not None
    block.calls.append(call)
    return block


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


def _widen(window: Window, syntax: HeadSyntax, block: Block, lower: int) -> None:
    """Take the section markers around a call into its block."""
    for section in syntax.sections:
        pattern = _pattern(section)
        following = pattern.match(window.text, skip_space(window.text, block.end), window.end)
        if following is not None:
            block.end = following.end()
        before = None
        for mark in pattern.finditer(window.text, max(lower, block.start - 96), block.start):
            before = mark
        if before is not None and not window.text[before.end() : block.start].strip():
            block.start = before.start()
