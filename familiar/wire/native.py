"""An answer in a native dialect: reasoning split off, calls found and judged, the rest as content.

If the text speaks another dialect than it should, that one is read, and believed only with
offered tools. A call inside reasoning that never closed counts only if it is complete and the last
thing said. A string argument that is one complete plan document is read as the plan if the call
that carries it is the only one and could not run anyway: it misses its schema, and has no other
argument. (A call that could run is left alone: then the document is a file to be written.)
"""

from __future__ import annotations

import re
from dataclasses import replace

from familiar.wire.auto import detect, scan_invented
from familiar.wire.bind import bind
from familiar.wire.channels import ChannelSyntax
from familiar.wire.content import remaining_text, strip_orphan_closers, without_frame
from familiar.wire.dialects import AUTO_NAMES, DIALECTS, Dialect
from familiar.wire.found import Answer, Block, TooManyTags, outside
from familiar.wire.jsoncalls import HeadSyntax, JsonSyntax
from familiar.wire.limits import MAX_PROBLEMS
from familiar.wire.meant import set_examples_aside, unread_call, whole_answer
from familiar.wire.plan_read import read_any_plan
from familiar.wire.reasoning import Split, split_reasoning
from familiar.wire.result import ParsedOutput, Problem, Repair

PLAIN = Dialect("auto", DIALECTS["generic_json"].syntaxes)
_BRACKETED = ("invoke name=", "parameter name=", "parameter=", "function=")
_LOST_BRACKETS = re.compile(
    r"^[ \t]{0,16}/?(?:invoke|parameter|function)(?: name=[\"“][\w.-]{1,128}[\"”]|=[\w.-]{1,128})>",
    re.MULTILINE,
)


def parse_native(answer: Answer) -> ParsedOutput:
    """The calls, content and reasoning of an answer in a native dialect, or in any (`auto`)."""
    raw, text = answer.text, without_frame(answer.text)
    answer = replace(answer, text=text)
    automatic = answer.dialect in AUTO_NAMES
    if automatic:
        plan = read_any_plan(text) if "<familiar" in text else None
        row = detect(text) or PLAIN
        if plan is not None and row is PLAIN:
            return ParsedOutput(raw, answer.dialect, plan=plan)
    else:
        row = DIALECTS[answer.dialect]
    if isinstance(row.syntaxes[0], ChannelSyntax):
        return _parse_channels(raw, answer, row.syntaxes[0])
    split = split_reasoning(
        text, row, lambda _: _quoting(answer, row), in_reasoning=answer.in_reasoning
    )
    blocks = _find_blocks(answer, row, split, automatic)
    bound = bind(blocks, answer)
    if not blocks and split.unclosed is None:
        bound.problems.extend(_lost_brackets(text, split.start))
    content = "" if split.unclosed is not None and not blocks else None
    if content is None:
        content = remaining_text(text, row, split.start, split.removed, blocks)
    if blocks and answer.tools.names and not (bound.calls or bound.problems or content.strip()):
        message = "The call's markup holds no call. Write the call, or the answer in words."
        bound.problems.append(Problem("empty_call", blocks[0].start, message))
    repairs = [*split.repairs, *bound.repairs]
    if not blocks:
        content, orphans = strip_orphan_closers(content)
        if orphans:
            repairs.append(Repair("orphan_close_tags", split.start + len(content)))
    parsed = ParsedOutput(
        raw,
        answer.dialect,
        tuple(bound.calls),
        content,
        split.text(text, blocks[0].start if blocks else len(text)),
        repairs=tuple(sorted(repairs, key=lambda repair: repair.offset)),
        problems=tuple(bound.problems[:MAX_PROBLEMS]),
    )
    return _lift_plan(parsed, answer)


def _find_blocks(answer: Answer, row: Dialect, split: Split, automatic: bool) -> list[Block]:
    """Blocks of the dialect itself, else calls of another, else of a call nobody can read."""
    if split.unclosed is not None:
        return _scan_unclosed(answer, row, split)
    whole = answer.window(split.start)
    inner = [span for span in split.removed if span[0] >= split.start]
    blocks = [
        block
        for low, high in outside(inner, split.start, len(answer.text))
        for block in row.scan(answer.window(low, high))
    ]
    if not any(block.calls for block in blocks):
        other = scan_invented(whole) if automatic else _other_dialect(answer, row, split)
        blocks = other or blocks
    set_examples_aside(answer.text, split.start, blocks)
    if not blocks and answer.tools.names:
        blocks = whole_answer(whole)
    return blocks or _unread(answer, row, split)


def _scan_unclosed(answer: Answer, row: Dialect, split: Split) -> list[Block]:
    """Calls inside reasoning that never closed: the complete ones that end the text, if any."""
    found = row.scan(answer.window(split.unclosed or 0))
    edge, first = len(answer.text), len(found)
    for block in reversed(found):
        if answer.text[block.end : edge].strip() or not block.calls or block.problems:
            break
        first -= 1
        edge = block.start
    if last := found[first:]:
        split.repairs.append(Repair("implicit_reasoning_end", last[0].start))
        split.start = last[0].start
        set_examples_aside(answer.text, split.start, last)
        return last
    message = "A call stands inside reasoning that never ended, and was not carried out."
    return _told_at_end(answer, found[0].start, message) if found else []


def _told_at_end(answer: Answer, offset: int, message: str) -> list[Block]:
    """A block that takes no text, for a call in the reasoning at `offset`."""
    end = len(answer.text)
    return [Block(end, end, problems=[Problem("call_in_reasoning", offset, message)])]


def _other_dialect(answer: Answer, row: Dialect, split: Split) -> list[Block]:
    """Calls in another dialect than the model's own: drift, believed only for offered tools."""
    if not answer.tools.names:
        return []
    other = detect(answer.text[split.start :])
    if (
        other is None
        or other.syntaxes == row.syntaxes
        or isinstance(other.syntaxes[0], ChannelSyntax)
    ):
        return []
    blocks = other.scan(answer.window(split.start))
    for block in blocks:
        for call in block.calls:
            call.repairs.append(Repair("other_dialect", call.start, other.id))
    return blocks if any(block.calls for block in blocks) else []


def _unread(answer: Answer, row: Dialect, split: Split) -> list[Block]:
    """A problem where a call was meant and none was found: in the answer, or, where there is no
    answer, in the reasoning. What the reasoning drafts never runs."""
    if split.closed and not answer.text[split.start :].strip():
        for low, high in split.removed:
            drafted = row.scan(answer.window(low, high))
            if any(block.calls for block in drafted):
                message = (
                    "The call stands inside the reasoning, and nothing follows it. It was not "
                    "carried out. Write it again behind the reasoning."
                )
                return _told_at_end(answer, drafted[0].start, message)
    if not answer.tools.names:
        return []
    found = unread_call(answer.window(split.start))
    return [found] if found is not None else []


def _quoting(answer: Answer, row: Dialect) -> list[tuple[int, int]]:
    """Where whole calls stand in which a reasoning mark is quoted.

    Behind a mark inside a call there must be no second opener of a call, or the call was drafted
    in the reasoning, and the mark is the end of that.
    """
    try:
        found = [b for b in row.scan(answer.window()) if b.calls and not b.problems]
    except TooManyTags:
        return []
    if isinstance(row.syntaxes[0], JsonSyntax | HeadSyntax):
        return [(b.start, b.end) for b in found]
    return [
        (max([b.start, *(answer.text.rfind(mark, b.start, b.end) for mark in row.openers)]), b.end)
        for b in found
    ]


def _lost_brackets(text: str, start: int) -> list[Problem]:
    """Tags without their angle brackets: a detokeniser dropped them; the values have no ends."""
    if not any(word in text for word in _BRACKETED):
        return []
    match = _LOST_BRACKETS.search(text, start)
    message = (
        "A call was written without angle brackets, so its values have no certain end. Write "
        "the call again. (If this repeats, the engine may be dropping special tokens.)"
    )
    return [Problem("lost_brackets", match.start(), message)] if match is not None else []


def _lift_plan(parsed: ParsedOutput, answer: Answer) -> ParsedOutput:
    if len(parsed.calls) != 1 or not parsed.calls[0].violations or not answer.tools.known:
        return parsed
    call = parsed.calls[0]
    values = list(call.arguments.values())
    if len(values) != 1 or not isinstance(values[0], str):
        return parsed
    plan = read_any_plan(values[0])
    if plan is None:
        return parsed
    lifted = Repair("lifted_plan", call.start, call.name)
    return replace(parsed, calls=(), plan=plan, repairs=(lifted,), problems=())


def _parse_channels(raw: str, answer: Answer, syntax: ChannelSyntax) -> ParsedOutput:
    found = syntax.messages(answer.window(), in_reasoning=answer.in_reasoning)
    if not found.blocks and answer.tools.names:
        unread = (unread_call(answer.window(low, high)) for low, high in found.content)
        found.blocks.extend(block for block in unread if block is not None)
    bound = bind(found.blocks, answer)
    parsed = ParsedOutput(
        raw,
        answer.dialect,
        tuple(bound.calls),
        "".join(answer.text[low:high] for low, high in found.content),
        "".join(found.reasoning).strip() or None,
        repairs=tuple(bound.repairs),
        problems=tuple(bound.problems[:MAX_PROBLEMS]),
    )
    return _lift_plan(parsed, answer)
