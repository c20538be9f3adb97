"""The one entry of the wire: model text in, `ParsedOutput` out. Pure, bounded, total.

Steps: cap the text; find the dialect; split off reasoning; let the scanners find call markup in the
rest; judge what they found against the offered tools; join what remains into content. If the text
speaks another dialect than it should, that one is tried, and believed only with offered tools.

A call inside reasoning that never closed counts only if it is complete and the last thing said. A
string argument that is one complete plan document is read as the plan if the call that carries it
is the only one and could not run anyway: it misses its schema, and has no other argument. (A call
that could run is left alone: then the document is a file to be written.)
"""

from __future__ import annotations

import re

from familiar.errors import WireError
from familiar.wire.auto import detect, scan_invented
from familiar.wire.bind import Bound, bind
from familiar.wire.channels import scan_channels
from familiar.wire.content import remaining_text, strip_orphan_closers
from familiar.wire.dialects import (
    AUTO_NAMES,
    DIALECT_IDS,
    DIALECTS,
    PLAN_WIRES,
    TURN_ENDS,
    Dialect,
)
from familiar.wire.found import Block, Window
from familiar.wire.offered import OfferedTools, Tools
from familiar.wire.plan_read import read_any_plan, read_plan
from familiar.wire.reasoning import Split, split_reasoning
from familiar.wire.result import (
    DEFAULT_LIMITS,
    Limits,
    ParsedOutput,
    Problem,
    Repair,
)
from familiar.wire.scan import scan
from familiar.wire.syntax import ChannelSyntax
from familiar.wire.tokens import TooManyTags

_PLAIN = Dialect("auto", DIALECTS["generic_json"].syntaxes, ())
_BRACKETED = ("invoke name=", "parameter name=", "parameter=", "function=")
_LOST_BRACKETS = re.compile(
    r"^[ \t]{0,16}/?(?:invoke|parameter|function)(?: name=[\"“][\w.-]{1,128}[\"”]|=[\w.-]{1,128})>",
    re.MULTILINE,
)


def parse_output(
    text: str,
    *,
    dialect: str,
    tools: Tools | None = None,
    finish_reason: str | None = None,
    in_reasoning: bool = False,
    suffix: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> ParsedOutput:
    """Read one model answer.

    `dialect` is an id from `DIALECT_IDS`. `tools` are the offered tools: none means "not known"
    (nothing is checked), an empty list that none was offered. `finish_reason` is the engine's;
    `length` keeps a cut call from running. `in_reasoning`: the answer begins inside the model's
    reasoning. `suffix` is the plan wire's tag suffix for this turn; without it, any counts.

    Raises `WireError` for an unknown dialect; never for anything in `text`.
    """
    if dialect not in DIALECT_IDS and dialect not in AUTO_NAMES:
        known = ", ".join(DIALECT_IDS)
        raise WireError(f"There is no wire dialect {dialect!r}.", remedy=f"Use one of: {known}.")
    offered = OfferedTools(tools)
    kept = within_cap(text, limits.max_bytes)
    if kept < len(text):
        message = f"The answer is longer than {limits.max_bytes} bytes and was not read for calls."
        problem = Problem("output_too_large", kept, message)
        return ParsedOutput(text[:kept], dialect, content=text[:kept], problems=(problem,))
    try:
        if dialect in PLAN_WIRES:
            return _parse_plan(text, dialect, offered, finish_reason, in_reasoning, suffix, limits)
        return _parse_native(text, dialect, offered, finish_reason, in_reasoning, limits)
    except TooManyTags:
        message = "The answer holds too many structural tags to be a call and was kept as text."
        return ParsedOutput(
            text, dialect, content=text, problems=(Problem("too_many_tags", 0, message),)
        )


def within_cap(text: str, max_bytes: int) -> int:
    """How many characters of `text` fit in `max_bytes` of UTF-8."""
    if len(text) * 4 <= max_bytes or len(text.encode("utf-8", "surrogatepass")) <= max_bytes:
        return len(text)
    low, high = 0, min(len(text), max_bytes)
    while low < high:
        middle = (low + high + 1) // 2
        if len(text[:middle].encode("utf-8", "surrogatepass")) <= max_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def _parse_native(
    text: str,
    dialect_id: str,
    offered: OfferedTools,
    finish_reason: str | None,
    in_reasoning: bool,
    limits: Limits,
) -> ParsedOutput:
    raw, text = text, _without_turn_ends(text)
    automatic = dialect_id in AUTO_NAMES
    if automatic:
        plan = read_any_plan(text, limits) if "<familiar" in text else None
        row = detect(text) or _PLAIN
        if plan is not None and row is _PLAIN:
            return ParsedOutput(raw, dialect_id, plan=plan)
    else:
        row = DIALECTS[dialect_id]
    if isinstance(row.syntaxes[0], ChannelSyntax):
        return _parse_channels(
            text, dialect_id, row.syntaxes[0], offered, finish_reason, in_reasoning, limits
        )
    split = split_reasoning(text, row, in_reasoning=in_reasoning)
    blocks = _scan_answer(text, row, split, offered, limits)
    if automatic and not blocks:
        blocks = scan_invented(_window(text, split.start, len(text), offered, limits))
    bound = bind(blocks, offered, finish_reason, limits)
    if not automatic and not blocks:
        other = _other_dialect(text, row, split, offered, finish_reason, limits)
        if other is not None:
            blocks, bound = other
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


def _without_turn_ends(text: str) -> str:
    """`text` without turn-ending tokens at its very end; offsets in it stay offsets in the raw."""
    for _ in range(4):
        ending = next((token for token in TURN_ENDS if text.endswith(token)), None)
        if ending is None:
            break
        text = text[: -len(ending)]
    return text


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
    text: str,
    row: Dialect,
    split: Split,
    offered: OfferedTools,
    finish_reason: str | None,
    limits: Limits,
) -> tuple[list[Block], Bound] | None:
    """Calls in another dialect than the model's own: drift, believed only for offered tools."""
    if not offered.names or split.unclosed is not None:
        return None
    other = detect(text[split.start :]) if split.start else detect(text)
    if (
        other is None
        or other.syntaxes == row.syntaxes
        or isinstance(other.syntaxes[0], ChannelSyntax)
    ):
        return None
    blocks = scan(_window(text, split.start, len(text), offered, limits), other)
    for block in blocks:
        for call in block.calls:
            call.needs_offer = True
            call.repairs.append(Repair("other_dialect", call.start, other.id))
    if not any(block.calls for block in blocks):
        return None
    return blocks, bind(blocks, offered, finish_reason, limits)


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
        text,
        dialect_id,
        tuple(bound.calls),
        "".join(found.content),
        reasoning or None,
        None,
        tuple(bound.repairs),
        tuple(bound.problems[: limits.max_problems]),
    )
    return _lift_plan(parsed, offered, limits)


def _parse_plan(
    text: str,
    dialect_id: str,
    offered: OfferedTools,
    finish_reason: str | None,
    in_reasoning: bool,
    suffix: str | None,
    limits: Limits,
) -> ParsedOutput:
    row = Dialect(dialect_id, (), ())
    split = split_reasoning(text, row, in_reasoning=in_reasoning)
    if split.unclosed is not None:
        # A plan wire is complete or not; in reasoning that never closed it counts only as the end.
        split.start = split.unclosed
    reading = read_plan(text, split.start, len(text), dialect_id, suffix, limits)
    repairs, problems = [*split.repairs, *reading.repairs], list(reading.problems)
    plan = reading.plan
    if plan is not None and split.unclosed is not None:
        if text[reading.end :].strip():
            plan = None
            message = "The plan stands inside reasoning that never ended. End the reasoning first."
            problems.append(Problem("plan_in_reasoning", reading.start, message))
        else:
            repairs.append(Repair("implicit_reasoning_end", reading.start))
    if plan is None and finish_reason == "length":
        message = (
            "The plan was cut off by the length limit. Send a shorter plan, fewer calls a turn."
        )
        problems = [Problem("truncated_plan", split.start, message)]
    outside = text[split.start : reading.start] + text[reading.end :] if plan is not None else ""
    carrier = detect(outside) if outside.strip() else None
    if plan is not None and carrier is not None and carrier is not _PLAIN:
        native = _parse_native(text, carrier.id, offered, finish_reason, in_reasoning, limits)
        if native.calls and offered.names and not native.calls[0].violations:
            message = (
                "The plan stands inside the argument of a tool call. Send it as the answer itself."
            )
            problem = Problem("plan_in_tool_call", reading.start, message)
            return ParsedOutput(
                text,
                dialect_id,
                native.calls,
                native.content,
                native.reasoning,
                None,
                (),
                (problem,),
            )
        repairs.append(Repair("lifted_plan", reading.start, carrier.id))
        outside = ""
    reasoning = _plan_reasoning(text, split, reading.start if plan is not None else len(text))
    content = outside.strip() if plan is not None else text[split.start :]
    return ParsedOutput(
        text,
        dialect_id,
        (),
        content,
        reasoning,
        plan,
        tuple(repairs),
        tuple(problems[: limits.max_problems]),
    )


def _plan_reasoning(text: str, split: Split, stop: int) -> str | None:
    pieces = list(split.reasoning)
    if split.unclosed is not None:
        pieces.append(text[split.unclosed : stop])
    return "".join(pieces).strip() or None
