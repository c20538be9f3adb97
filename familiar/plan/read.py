"""Read a plan out of an orchestrator's answer, in the wire that its alias writes.

The answer is hostile input: it is bounded, parsed strictly and checked by type before anything
looks at its meaning. An answer that is one JSON document needs nothing else; any other goes through
`familiar.wire`, which knows the tags of this turn and repairs quoting, never values. What cannot be
read comes back as problems for the next prompt (`wire_…`), never as a guess; a plan that was cut
off by the token limit is never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from familiar.event import PlannedCall, Problem
from familiar.wire import ParsedOutput, Repair, parse_output
from familiar.wire.jsontext import encodable_value

MAX_PLAN_BYTES = 512 * 1024
_MAX_REPAIRS = 8


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=64)
    alias: str = Field(max_length=64)
    prompt: str = Field(max_length=200_000)
    depends_on: list[str] = Field(default_factory=list, max_length=4096)
    output_file: str | None = Field(None, max_length=512)
    needs: list[str] = Field(default_factory=list, max_length=64)


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    continue_: bool = Field(alias="continue")
    worker_calls: list[_Call] = Field(max_length=4096)
    thought: str | None = None


@dataclass(frozen=True, slots=True)
class PlanWire:
    """The form of this turn's plan: `dialect` is one of `familiar.wire.PLAN_WIRES`, `suffix` the
    ending of its tags in this turn; without one, any ending is taken."""

    dialect: str = "json"
    suffix: str | None = None


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """A plan that has the right form, and what was repaired to read it. Whether it may run is for
    `lint` to say."""

    continue_: bool
    calls: tuple[PlannedCall, ...]
    repairs: tuple[Problem, ...] = ()


def read_plan(
    answer: str, *, wire: PlanWire | None = None, finish_reason: str | None = None
) -> ReadPlan | tuple[Problem, ...]:
    """The plan in `answer`, or the problems that keep it from being one. Linear in its length.

    `finish_reason` is the engine's: with `length`, an incomplete part is rejected as cut off.
    """
    if len(answer.encode("utf-8", "replace")) > MAX_PLAN_BYTES:
        return (Problem(code="plan_too_large", message="The plan is larger than 512 KiB."),)
    wire = wire or PlanWire()
    if wire.dialect == "json":
        try:
            whole = json.loads(answer)
            clean = encodable_value(whole)
            return _typed(
                clean, () if clean == whole else _as_problems([Repair("lone_surrogate", 0)])
            )
        except (ValueError, RecursionError):
            pass
    parsed = parse_output(
        answer, dialect=wire.dialect, suffix=wire.suffix, finish_reason=finish_reason
    )
    if parsed.plan is None:
        return _unread(parsed, finish_reason)
    return _typed(dict(parsed.plan), _as_problems(parsed.repairs))


def _unread(parsed: ParsedOutput, finish_reason: str | None) -> tuple[Problem, ...]:
    found = tuple(
        Problem(code=_code(problem.name), message=problem.message) for problem in parsed.problems
    )
    if found:
        return found
    if finish_reason == "length":
        return (
            Problem(
                code="wire_truncated",
                message="The plan was cut off by the token limit; plan fewer or shorter calls.",
            ),
        )
    return (Problem(code="wire_missing", message="No plan was found. Answer with one plan."),)


def _code(name: str) -> str:
    """The stable code of a wire problem: `plan_unclosed` is `wire_unclosed`, and so on."""
    if name == "truncated_plan":
        return "wire_truncated"
    return f"wire_{name.removeprefix('plan_')}"


def _as_problems(repairs: Sequence[Repair]) -> tuple[Problem, ...]:
    """One repair for each kind of repair, with how often it was made and where first."""
    places: dict[str, list[int]] = {}
    for repair in repairs:
        places.setdefault(repair.name, []).append(repair.offset)
    return tuple(
        Problem(
            code=f"wire_{name}",
            message=f"The answer was read with a repair: {name.replace('_', ' ')}, "
            f"{len(offsets)} time(s), first at character {min(offsets)}.",
        )
        for name, offsets in list(places.items())[:_MAX_REPAIRS]
    )


def _typed(data: object, repairs: tuple[Problem, ...] = ()) -> ReadPlan | tuple[Problem, ...]:
    try:
        plan = _Plan.model_validate(data)
    except ValidationError as error:
        return tuple(
            Problem(code="plan_malformed", message=_sentence(item["loc"], item["msg"], data))
            for item in error.errors()[:8]
        )
    calls = tuple(
        PlannedCall(**{**dict(call), "depends_on": tuple(dict.fromkeys(call.depends_on))})
        for call in plan.worker_calls
    )
    return ReadPlan(continue_=plan.continue_, calls=calls, repairs=repairs)


def _sentence(place: Sequence[int | str], message: str, data: object) -> str:
    """The problem and its place; a call is named by its id: a model does not count from zero."""
    where = ".".join(map(str, place)) or "the plan"
    if len(place) > 1 and place[0] == "worker_calls" and isinstance(data, Mapping):
        calls = data.get("worker_calls")
        index = place[1]
        if isinstance(calls, list) and isinstance(index, int) and isinstance(calls[index], dict):
            name = calls[index].get("id")
            if isinstance(name, str) and name:
                where += f" (call {name[:64]})"
    return f"{where}: {message}."
