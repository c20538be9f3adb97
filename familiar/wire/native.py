"""An answer in a native dialect: reasoning split off, calls found and judged, the rest as content.

If the text speaks another dialect than it should, that one is attempted, and believed only with
offered tools. A call inside reasoning that never closed counts only if it is complete and the last
thing said. A string argument that is one complete plan document is read as the plan if the call
that carries it is the only one and could not run anyway: it misses its schema, and has no other
argument. (A call that could run is left alone: then the document is a file to be written.)
"""

from __future__ import annotations

import re
from bisect import bisect_right

from familiar.wire.auto import detect, scan_invented
from familiar.wire.bind import Bound, bind
from familiar.wire.channels import scan_channels
from familiar.wire.content import remaining_text, strip_orphan_closers, without_frame
from familiar.wire.dialects import AUTO_NAMES, DIALECTS, Dialect
from familiar.wire.found import Block, Window
from familiar.wire.meant import set_examples_aside, unread_call, whole_answer
from familiar.wire.offered import OfferedTools
from familiar.wire.plan_read import read_any_plan
from familiar.wire.reasoning import Split, split_reasoning
from familiar.wire.result import Limits, ParsedOutput, Problem, Repair
from familiar.wire.scan import scan
from familiar.wire.syntax import ChannelSyntax, HeadSyntax, JsonSyntax
from familiar.wire.tokens import TooManyTags

PLAIN = Dialect("auto", DIALECTS["generic_json"].syntaxes, ())
_BRACKETED = ("invoke name=", "parameter name=", "parameter=", "function=")
_LOST_BRACKETS = re.compile(
    r"^[ \t]{0,16}/?(?:invoke|parameter|function)(?: name=[\"“][\w.-]{1,128}[\"”]|=[\w.-]{1,128})>",
    re.MULTILINE,
)


def parse_native(
    text: str,
    dialect_id: str,
    offered: OfferedTools,
    finish_reason: str | None,
    in_reasoning: bool,
    limits: Limits,
) -> ParsedOutput:
    """The calls, content and reasoning of an answer in a native dialect, or in any (`auto`)."""
    raw, text = text, without_frame(text)
    automatic = dialect_id in AUTO_NAMES
    if automatic:
        plan = read_any_plan(text, limits) if "<familiar" in text else None
        row = detect(text) or PLAIN
        if plan is not None and row is PLAIN:
            return ParsedOutput(raw, dialect_id, plan=plan)
    else:
        row = DIALECTS[dialect_id]
    if isinstance(row.syntaxes[0], ChannelSyntax):
        return _parse_channels(
            raw, text, dialect_id, row.syntaxes[0], offered, finish_reason, in_reasoning, limits
        )
    quoted = _QuotedInCalls(text, row, offered, limits)
    split = split_reasoning(text, row, in_reasoning=in_reasoning, quoted=quoted.end)
    blocks = _scan_answer(text, row, split, offered, limits)
    if automatic and not blocks:
        blocks = scan_invented(_window(text, split.start, len(text), offered, limits))
    if not automatic and not blocks:
        blocks = _other_dialect(text, row, split, offered, limits)
    set_examples_aside(text, split.start, blocks)
    if not blocks and offered.names and split.unclosed is None:
        blocks = whole_answer(_window(text, split.start, len(text), offered, limits))
    if not blocks and split.unclosed is None:
        blocks = _unread(text, row, split, offered, limits)
    bound = bind(blocks, offered, finish_reason, limits)
    _check_lost_brackets(text, split, blocks, bound)
    content = "" if split.unclosed is not None and not blocks else None
    if content is None:
        content = remaining_text(text, row, split.start, split.removed, blocks)
    repairs = [*split.repairs, *bound.repairs]
    if not blocks:
        content, orphans = strip_orphan_closers(content)
        if orphans:
            repairs.append(Repair("orphan_close_tags", split.start + len(content)))
    reasoning = _reasoning(text, split, blocks)
    parsed = ParsedOutput(
        raw,
        dialect_id,
        tuple(bound.calls),
        content,
        reasoning,
        None,
        tuple(sorted(repairs, key=lambda repair: repair.offset)),
        tuple(bound.problems[: limits.max_problems]),
    )
    return _lift_plan(parsed, offered, limits)


def _window(text: str, start: int, end: int, offered: OfferedTools, limits: Limits) -> Window:
    return Window(text, start, end, limits, offered.names, offered.properties)


def _scan_answer(
    text: str, row: Dialect, split: Split, offered: OfferedTools, limits: Limits
) -> list[Block]:
    if split.unclosed is not None:
        return _scan_unclosed(text, row, split, offered, limits)
    blocks: list[Block] = []
    position = split.start
    inner = [span for span in split.removed if span[0] >= split.start]
    for low, high in [*inner, (len(text), len(text))]:
        if low > position:
            blocks.extend(scan(_window(text, position, low, offered, limits), row))
        position = max(position, high)
    return blocks


def _scan_unclosed(
    text: str, row: Dialect, split: Split, offered: OfferedTools, limits: Limits
) -> list[Block]:
    """Calls inside reasoning that never closed: the complete ones that end the text, if any."""
    begin = split.unclosed or 0
    found = scan(_window(text, begin, len(text), offered, limits), row)
    last: list[Block] = []
    edge = len(text)
    for block in reversed(found):
        if text[block.end : edge].strip() or not block.calls or block.problems:
            break
        last.insert(0, block)
        edge = block.start
    if last:
        split.repairs.append(Repair("implicit_reasoning_end", last[0].start))
        split.start = last[0].start
        return last
    if found:
        message = "A call stands inside reasoning that never ended, and was not carried out."
        problem = Problem("call_in_reasoning", found[0].start, message)
        return [Block(len(text), len(text), problems=[problem])]
    return []


def _reasoning(text: str, split: Split, blocks: list[Block]) -> str | None:
    pieces = list(split.reasoning)
    if split.unclosed is not None:
        called = blocks[0].start if blocks else len(text)
        pieces.append(text[split.unclosed : called])
    joined = "".join(pieces).strip()
    return joined or None


def _other_dialect(
    text: str, row: Dialect, split: Split, offered: OfferedTools, limits: Limits
) -> list[Block]:
    """Calls in another dialect than the model's own: drift, believed only for offered tools."""
    if not offered.names or split.unclosed is not None:
        return []
    other = detect(text[split.start :]) if split.start else detect(text)
    if (
        other is None
        or other.syntaxes == row.syntaxes
        or isinstance(other.syntaxes[0], ChannelSyntax)
    ):
        return []
    blocks = scan(_window(text, split.start, len(text), offered, limits), other)
    for block in blocks:
        for call in block.calls:
            call.needs_offer = True
            call.repairs.append(Repair("other_dialect", call.start, other.id))
    return blocks if any(block.calls for block in blocks) else []


def _unread(
    text: str, row: Dialect, split: Split, offered: OfferedTools, limits: Limits
) -> list[Block]:
    """A problem where a call was meant and none was found: in the answer, or, where there is no
    answer, in the reasoning. What the reasoning drafts never runs."""
    if split.closed and not text[split.start :].strip():
        for low, high in split.removed:
            drafted = scan(_window(text, low, high, offered, limits), row)
            if any(block.calls for block in drafted):
                message = (
                    "The call stands inside the reasoning, and nothing follows it. It was not "
                    "carried out. Write it again behind the reasoning."
                )
                problem = Problem("call_in_reasoning", drafted[0].start, message)
                return [Block(len(text), len(text), problems=[problem])]
    if not offered.names:
        return []
    found = unread_call(_window(text, split.start, len(text), offered, limits))
    return [found] if found is not None else []


class _QuotedInCalls:
    """The calls of a text, read once and only if a reasoning mark asks whether it is quoted."""

    def __init__(self, text: str, row: Dialect, offered: OfferedTools, limits: Limits) -> None:
        self._text = text
        self._row = row
        self._offered = offered
        self._limits = limits
        self._spans: list[tuple[int, int]] | None = None

    def end(self, offset: int) -> int:
        """The end of the whole call around `offset`, or a negative number.

        Behind a mark inside a call there must be no second opener of a call, or the call was
        drafted in the reasoning, and the mark is the end of that.
        """
        if self._spans is None:
            try:
                window = _window(self._text, 0, len(self._text), self._offered, self._limits)
                found = scan(window, self._row)
            except TooManyTags:
                found = []
            self._spans = [(b.start, b.end) for b in found if b.calls and not b.problems]
        at = bisect_right(self._spans, (offset, len(self._text))) - 1
        if at < 0 or not self._spans[at][0] < offset < self._spans[at][1]:
            return -1
        end = self._spans[at][1]
        strict = isinstance(self._row.syntaxes[0], JsonSyntax | HeadSyntax)
        reopened = any(stop in self._text[offset:end] for stop in self._row.stops)
        return -1 if reopened and not strict else end


def _check_lost_brackets(text: str, split: Split, blocks: list[Block], bound: Bound) -> None:
    """Tags without their angle brackets: a detokeniser dropped them; the values have no ends."""
    if blocks or split.unclosed is not None or not any(word in text for word in _BRACKETED):
        return
    match = _LOST_BRACKETS.search(text, split.start)
    if match is not None:
        message = (
            "A call was written without angle brackets, so its values have no certain end. Write "
            "the call again. (If this repeats, the engine may be dropping special tokens.)"
        )
        bound.problems.append(Problem("lost_brackets", match.start(), message))


def _lift_plan(parsed: ParsedOutput, offered: OfferedTools, limits: Limits) -> ParsedOutput:
    if len(parsed.calls) != 1 or not parsed.calls[0].violations or not offered.known:
        return parsed
    call = parsed.calls[0]
    values = list(call.arguments.values())
    if len(values) != 1 or not isinstance(values[0], str):
        return parsed
    plan = read_any_plan(values[0], limits)
    if plan is None:
        return parsed
    lifted = Repair("lifted_plan", call.start, call.name)
    return ParsedOutput(
        parsed.raw, parsed.dialect, (), parsed.content, parsed.reasoning, plan, (lifted,), ()
    )


def _parse_channels(
    raw: str,
    text: str,
    dialect_id: str,
    syntax: ChannelSyntax,
    offered: OfferedTools,
    finish_reason: str | None,
    in_reasoning: bool,
    limits: Limits,
) -> ParsedOutput:
    window = _window(text, 0, len(text), offered, limits)
    found = scan_channels(window, syntax, in_reasoning=in_reasoning)
    bound = bind(found.blocks, offered, finish_reason, limits)
    reasoning = "".join(found.reasoning).strip()
    parsed = ParsedOutput(
        raw,
        dialect_id,
        tuple(bound.calls),
        "".join(found.content),
        reasoning or None,
        None,
        tuple(bound.repairs),
        tuple(bound.problems[: limits.max_problems]),
    )
    return _lift_plan(parsed, offered, limits)
