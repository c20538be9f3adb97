"""Which calls were meant: examples do not run, and a call that cannot be read is never silent.

A model quotes calls, in a code fence or a code span or a sentence, when it explains them, and it
writes calls in forms that its dialect does not know when it means them. Here the two are told apart
by the text around them:

- in a fence, a code span or quotation marks with other text in the answer: an example, kept as
  text. Where nothing follows it, it may have been meant, and a problem says so;
- the whole answer in a fence: meant;
- the whole answer one JSON document (perhaps in a fence or a tag) that calls offered tools: meant,
  and it runs if the arguments fit;
- markup of a call at the begin of a line that nothing could read: a problem says so.
"""

from __future__ import annotations

import re
from itertools import islice

from familiar.wire.found import Block, FoundCall, Window, in_quotes, rejected
from familiar.wire.jsoncalls import as_call
from familiar.wire.jsontext import read_json, skip_space
from familiar.wire.limits import MAX_CALLS
from familiar.wire.result import Json, Problem, Repair

_FENCE_LINE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_GOES_ON = re.compile(r"[ \t]{0,8}[`'\"”’]?[ \t]{0,8}[\w.!?)—–-]")
_SENTENCE_GOES_ON = re.compile(r"[ \t]{0,8}[.,;!?)]|[ \t]{1,8}[a-z]")
_SHOWING = re.compile(r"(?:<!--|<(?:examples?|samples?|demo)>)\s{0,16}$", re.IGNORECASE)
_WRAPPER = re.compile(
    r"<\|?(/?)(tools?|function_?calls?|tool_?calls?|call|action|json|response)\|?>", re.IGNORECASE
)
_LINE = r"^[ \t]{0,8}"
MARKS = (
    r"(?:"
    r"(?:<|&lt;)[|｜]?/?[\w:.-]{0,16}?(?:tool|function)[_▁ -]?(?:calls?|use)[\w▁-]{0,24}[|｜]?"
    r"(?:>|&gt;)\s{0,16}(?:[\[{<\w“\"]|&lt;)"
    r"|<[\w:.-]{0,16}tool_call\s|<(?:use|execute|run|call)_(?:\w{1,16}_)?tool>|\]<\]minimax\[>\["
    r"|(?:<|&lt;)(?:invoke|function|parameter)[ =][^<>\n]{1,128}>"
    r"|&lt;(?:invoke|function|parameter)[ =]"
    r"|(?:<|&lt;)[^<>\w\s/]{0,4}DSML"
    r"|<tools?>\s{0,16}[\[{]"
    r"|<tool_code>|<\|python_tag\|>"
    r"|\[?TOOL_(?:CALLS?|REQUEST)(?:\]|\s{0,4}[\[{])"
    r"|<\|(?:START_ACTION|action_start|recipient)\|>|✿FUNCTION✿"
    r"|functools\s{0,4}\[\s{0,4}\{"
    r"|\{\s{0,16}['\"](?:tool_calls?|function_call)['\"]\s{0,8}:"
    r"|(?:assistant)?\s{0,4}commentary\s{1,4}to="
    r"|<\|channel\|>(?:commentary|analysis)[^<>\n]{0,16} to="
    r")"
)
"""Markup of calls at the begin of a line, in the forms of many models and frameworks."""
# A match of MARKS holds one of these, in any case: a plain search is far faster than the pattern.
WORDS = re.compile(
    r"call|use|invoke|function[= ]|parameter[= ]|dsml|<tool|tool_|_tool|_tag|action|recipient|"
    r"functools|✿function|minimax\[|commentary|channel"
)
# The first character is asked for alone, as most lines begin with another one.
_MARKED = re.compile(_LINE + r"(?=[<&\[\]{✿fact])(?!<\s)" + MARKS, re.MULTILINE | re.IGNORECASE)
_NAMED = re.compile(
    _LINE + r"(?=[<{>\[A-Za-z_])(?:"
    r"<([A-Za-z_][\w.-]{0,127})>\s{0,16}(?:<parameter[ =>]|\{\s{0,16}\"|<([A-Za-z_]\w{0,63})>)"
    r"|<[A-Za-z][\w:-]{0,63}\s[^<>\n]{0,64}?name=['\"“]?([\w.-]{1,128})['\"”]?[^<>\n]{0,64}>"
    r"|\{\s{0,16}['\"](?:name|tool|tool_name|function|action)['\"]\s{0,8}:"
    r"\s{0,8}['\"]([\w.-]{1,128})['\"]"
    r"|(?:call:)?(?:\w{1,64}:)?([A-Za-z_][\w.-]{0,127})(?:\s{0,4}<arg_key>|\{\w{1,64}:)"
    r"|(?:>>>\s{0,4}|Action:\s{0,8})([\w.-]{1,128})\s{0,8}$"
    r"|(?:print\(|\[)?(?:functions\.|tools\.|default_api\.)?([A-Za-z_]\w{0,127})"
    r"\(\s{0,16}(?:\w{1,64}\s?=|[\"'{*)]|$)"
    r")",
    re.MULTILINE,
)
_CLOSERS = re.compile(r"</[^<>\n]{1,64}>")
_MAX_NAMED = 64


def set_examples_aside(text: str, start: int, blocks: list[Block]) -> None:
    """Take the calls out of `blocks` that are quoted, and the problems of such that cannot be read;
    their text stays in the content."""
    calling = [block for block in blocks if block.calls or block.problems]
    if not calling:
        return
    fences = _fences(text, start, calling)
    whole = _whole_fence(text, start, fences, calling)
    if whole is not None and any(block.calls for block in calling):
        calling[0].start, calling[-1].end = whole
        next(block.calls[0] for block in calling if block.calls).repairs.append(
            Repair("fenced_call", whole[0])
        )
        for block in calling:
            for call in block.calls:
                call.needs_offer = True
        return
    last = len(text.rstrip(" \t\r\n`'\"”’».,;:!?"))
    edges = [start, *(block.end for block in calling)], [b.start for b in calling[1:]]
    for block, low, high in zip(calling, edges[0], [*edges[1], len(text)], strict=False):
        fenced = next((end for begin, end in fences if begin < block.start < end), None)
        quoted = fenced is not None or in_quotes(text, block.start, block.end, low, high)
        shown = _shown(text, block, last)
        if not quoted and not shown and not _narrated(text, block):
            continue
        block.calls.clear()
        block.problems.clear()
        block.keep_text = True
        behind = fenced if fenced is not None else block.end
        if shown or behind >= last:
            block.problems.append(_quoted_problem(block.start))


def _quoted_problem(offset: int) -> Problem:
    message = (
        "A call stands in a code fence or in quotation marks, so it was taken for an example and "
        "not carried out. If it was meant, write it again without them."
    )
    return Problem("quoted_call", offset, message)


def _fences(text: str, start: int, blocks: list[Block]) -> list[tuple[int, int]]:
    """Code fences outside of the blocks, from opener to the end of the closer or of the text."""
    found: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    index = 0
    for match in _FENCE_LINE.finditer(text, start):
        while index < len(blocks) and blocks[index].end <= match.start():
            index += 1
        if index < len(blocks) and blocks[index].start < match.start():
            continue
        if opened is None:
            opened = match
        elif match.group(1).startswith(opened.group(1)) and not match.group(2).strip():
            found.append((opened.start(), match.end()))
            opened = None
    if opened is not None:
        found.append((opened.start(), len(text)))
    return found


def _whole_fence(
    text: str, start: int, fences: list[tuple[int, int]], blocks: list[Block]
) -> tuple[int, int] | None:
    """The one fence that is all of the answer and holds nothing but calls, or none."""
    if len(fences) != 1:
        return None
    low, high = fences[0]
    outside = text[start:low] + text[high:]
    if outside.strip() or blocks[0].start < low or blocks[-1].end > high:
        return None
    position = text.find("\n", low) + 1
    for block in blocks:
        if text[position : block.start].strip():
            return None
        position = block.end
    return (low, high) if not text[position:high].strip("`~ \t\r\n") else None


def _narrated(text: str, block: Block) -> bool:
    """A call without markup of its own, or without its wrapper, inside a sentence."""
    repairs = [repair.name for call in block.calls[:1] for repair in call.repairs]
    bare = "missing_wrapper" in repairs or block.unmarked
    if not bare or not _GOES_ON.match(text, block.end):
        return False
    line = text[max(0, block.start - 256) : block.start].rpartition("\n")[2]
    return bool(line.strip()) or block.unmarked


def _shown(text: str, block: Block, last: int) -> bool:
    """A whole call inside a line, a comment, an element of examples or an indented block of code,
    where the text goes on. It may have been meant all the same, so it is told. Tokens that are no
    plain text (`<|…`) show nothing."""
    if not text[block.start + 1 : block.start + 2].isalpha():
        return False
    before = text[max(0, block.start - 256) : block.start]
    if _SHOWING.search(before):
        return True
    line = before.rpartition("\n")[2]
    if line.strip():
        return _SENTENCE_GOES_ON.match(text, block.end) is not None
    indented = len(line.expandtabs()) >= 4 and before[: -len(line)].endswith("\n\n")
    return indented and block.end < last


def whole_answer(window: Window) -> list[Block]:
    """All of the window as calls to offered tools in JSON, perhaps in a fence or in a tag."""
    text, start, end = window.text, window.start, window.end
    start, end = _stripped(text, start, end)
    fence = _FENCE_LINE.match(text, start, end)
    if fence is not None and text[start:end].endswith(fence.group(1)):
        start, end = _stripped(text, fence.end(), end - len(fence.group(1)))
    if not _stands_at(text, start, end, "[{<"):
        return []
    calls: list[FoundCall] = []
    position = start
    while position < end:
        mark = _WRAPPER.match(text, position, end) or _FENCE_LINE.match(text, position, end)
        if mark is not None:
            position = skip_space(text, mark.end())
            continue
        found = read_json(text, position)
        if found is None or found[1] > end or len(calls) > MAX_CALLS:
            return []
        items = _items(found[0])
        if not items:
            return []
        for item in items:
            call = as_call(item, position, found[1])
            if call is None or call.name not in window.offered:
                return []
            call.needs_offer = True
            calls.append(call)
        position = skip_space(text, found[1])
    if not calls:
        return []
    repair = Repair("fenced_json" if fence is not None else "bare_json", start)
    calls[0].repairs.append(repair)
    return [Block(window.start, window.end, calls)]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _stands_at(text: str, start: int, end: int, characters: str) -> bool:
    return start < end and text[start] in characters


def _items(value: Json) -> list[Json]:
    """The calls of an envelope: a list, or the object under `tool_calls` and its kin."""
    if isinstance(value, dict) and len(value) == 1:
        key, inner = next(iter(value.items()))
        if key in ("tool_calls", "tool_call", "function_call", "calls"):
            value = inner
    return value if isinstance(value, list) else [value]


def unread_call(window: Window) -> Block | None:
    """A block with the problem, where the window holds markup of a call that nothing has read.

    Markup in a code fence is an example where text follows the fence.
    """
    text = window.text[window.start : window.end]
    found = _first(text, window, _MARKED) if WORDS.search(text.lower()) else []
    if any(name in text for name in window.offered):
        found += _first(text, window, _NAMED)
    if not found:
        return None
    offset = window.start + min(found)
    message = (
        "The answer holds what looks like a call, in a form that is not the one asked for. It was "
        "not carried out. Write the call again in the form that the instructions show."
    )
    return rejected("unread_call", offset, window.end, message)


def _first(text: str, window: Window, pattern: re.Pattern[str]) -> list[int]:
    """The offset of the first match that is no example and names an offered tool, if any."""
    fences: list[tuple[int, int]] | None = None
    for match in islice(pattern.finditer(text), _MAX_NAMED):
        if not _names_a_tool(window, match):
            continue
        if fences is None:
            fences = _fences(text, 0, [])
        behind = next((end for start, end in fences if start < match.start() < end), None)
        if behind is None or not _CLOSERS.sub("", text[behind:]).strip():
            return [match.start()]
    return []


def _names_a_tool(window: Window, match: re.Match[str]) -> bool:
    """Whether the names in a match, where it has any, are an offered tool and its argument."""
    if not match.re.groups:
        return True
    tag, key, *others = match.groups()
    name = tag or next((other for other in others if other), "")
    return name in window.offered and (key is None or window.is_property(name, key))
