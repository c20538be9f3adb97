"""An answer in a plan wire: the plan, the text and reasoning around it, and native calls beside it.

A plan in reasoning that never closed counts only as the end of the answer. One inside the argument
of a tool call is lifted out, unless that call could run.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from familiar.wire.auto import detect
from familiar.wire.content import without_frame
from familiar.wire.dialects import Dialect
from familiar.wire.found import Answer
from familiar.wire.limits import MAX_PROBLEMS
from familiar.wire.native import PLAIN, parse_native
from familiar.wire.plan_read import has_other_plan, quoting_plan, read_plan
from familiar.wire.reasoning import split_reasoning
from familiar.wire.result import ParsedOutput, Problem, Repair


def parse_plan(answer: Answer) -> ParsedOutput:
    """The plan of an answer in a plan wire, or the problems that kept it from being one."""
    raw, text, wire = answer.text, without_frame(answer.text), answer.dialect
    quoted = partial(quoting_plan, text, wire, answer.suffix)
    split = split_reasoning(text, Dialect(wire, ()), quoted, in_reasoning=answer.in_reasoning)
    if split.unclosed is not None:
        # A plan wire is complete or not; in reasoning that never closed it counts only as the end.
        split.start = split.unclosed
    reading = read_plan(text, split.start, len(text), wire, answer.suffix)
    repairs, problems = [*split.repairs, *reading.repairs], list(reading.problems)
    plan = reading.plan
    if plan is not None and split.unclosed is not None:
        if text[reading.end :].strip():
            plan = None
            message = "The plan stands inside reasoning that never ended. End the reasoning first."
            problems.append(Problem("plan_in_reasoning", reading.start, message))
        else:
            repairs.append(Repair("implicit_reasoning_end", reading.start))
    if plan is None and answer.finish_reason == "length":
        message = (
            "The plan was cut off by the length limit. Send a shorter plan, fewer calls a turn."
        )
        problems = [Problem("truncated_plan", split.start, message)]
    if plan is not None and has_other_plan(text, split.start, reading.start, reading.end):
        plan = None
        message = "Send exactly one plan, not several."
        problems.append(Problem("plan_repeated", reading.end, message))
    outside = text[split.start : reading.start] + text[reading.end :] if plan is not None else ""
    carrier = detect(outside) if outside.strip() else None
    if plan is not None and carrier is not None and carrier is not PLAIN:
        native = parse_native(replace(answer, text=text, dialect=carrier.id))
        if native.calls and answer.tools.names and not native.calls[0].violations:
            message = (
                "The plan stands inside the argument of a tool call. Send it as the answer itself."
            )
            problem = Problem("plan_in_tool_call", reading.start, message)
            return replace(native, raw=raw, dialect=wire, repairs=(), problems=(problem,))
        repairs.append(Repair("lifted_plan", reading.start, carrier.id))
        outside = ""
    return ParsedOutput(
        raw,
        wire,
        content=outside.strip() if plan is not None else text[split.start :],
        reasoning=split.text(text, reading.start if plan is not None else len(text)),
        plan=plan,
        repairs=tuple(repairs),
        problems=tuple(problems[:MAX_PROBLEMS]),
    )
