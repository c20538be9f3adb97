"""The one entry of the wire: model text in, `ParsedOutput` out. Pure, bounded, total.

The text is capped, read in a plan wire (`plan_answer`) or a native dialect (`native`), and its
values are made writable as UTF-8. Too much of anything is a named problem, and the text is kept.
"""

from __future__ import annotations

from dataclasses import replace

from familiar.errors import WireError
from familiar.wire.dialects import AUTO_NAMES, DIALECT_IDS, PLAN_WIRES
from familiar.wire.found import Answer, TooManyTags
from familiar.wire.jsontext import encodable, encodable_value
from familiar.wire.limits import MAX_BYTES
from familiar.wire.native import parse_native
from familiar.wire.offered import OfferedTools, Tools
from familiar.wire.plan_answer import parse_plan
from familiar.wire.result import ParsedOutput, Problem, Repair


def parse_output(
    text: str,
    *,
    dialect: str,
    tools: Tools | None = None,
    finish_reason: str | None = None,
    in_reasoning: bool = False,
    suffix: str | None = None,
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
    kept = within_cap(text, MAX_BYTES)
    if kept < len(text):
        message = f"The answer is longer than {MAX_BYTES} bytes and was not read for calls."
        problem = Problem("output_too_large", kept, message)
        return ParsedOutput(text[:kept], dialect, content=text[:kept], problems=(problem,))
    offered = OfferedTools(tools)
    answer = Answer(text, dialect, offered, finish_reason, in_reasoning, suffix)
    try:
        parsed = parse_plan(answer) if dialect in PLAN_WIRES else parse_native(answer)
        return _encodable(parsed)
    except RecursionError:
        name, reason = "too_deep", "nests values too deeply"
    except TooManyTags:
        name, reason = "too_many_tags", "holds too many structural tags to be a call"
    problem = Problem(name, 0, f"The answer {reason} and was kept as text.")
    return ParsedOutput(text, dialect, content=encodable(text), problems=(problem,))


def _encodable(parsed: ParsedOutput) -> ParsedOutput:
    """`parsed` with values that can be written as UTF-8; `raw` stays as it is."""
    calls = tuple(
        replace(
            call,
            name=encodable(call.name),
            id=encodable(call.id),
            arguments={
                encodable(key): encodable_value(value) for key, value in call.arguments.items()
            },
        )
        for call in parsed.calls
    )
    plan = parsed.plan
    if plan is not None:
        plan = {encodable(key): encodable_value(value) for key, value in plan.items()}
    repairs = parsed.repairs
    if calls != parsed.calls or plan != parsed.plan:
        start = parsed.calls[0].start if parsed.calls else 0
        repairs = (*repairs, Repair("lone_surrogate", start))
    return replace(
        parsed,
        calls=calls,
        plan=plan,
        content=encodable(parsed.content),
        reasoning=None if parsed.reasoning is None else encodable(parsed.reasoning),
        repairs=repairs,
    )


def within_cap(text: str, max_bytes: int) -> int:
    """How many characters of `text` fit in `max_bytes` of UTF-8."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= max_bytes:
        return len(text)
    kept = data[:max_bytes]
    while kept and data[len(kept)] & 0xC0 == 0x80:
        kept = kept[:-1]  # the character would be torn
    return len(kept.decode("utf-8", "surrogatepass"))
