"""Read a plan out of an orchestrator's answer.

The answer is hostile input: it is bounded, parsed strictly and checked by type before anything
looks at its meaning. What cannot be read comes back as problems for the next prompt, never as a
guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from familiar.event import PlannedCall, Problem

MAX_PLAN_BYTES = 512 * 1024


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=64)
    alias: str = Field(max_length=64)
    prompt: str = Field(max_length=200_000)
    depends_on: list[str] = Field(default_factory=list, max_length=256)
    output_file: str | None = Field(None, max_length=512)
    needs: list[str] = Field(default_factory=list, max_length=64)


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    continue_: bool = Field(alias="continue")
    worker_calls: list[_Call] = Field(max_length=512)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """A plan that has the right form. Whether it may run is for `lint` to say."""

    continue_: bool
    calls: tuple[PlannedCall, ...]


def read_plan(answer: str, *, truncated: bool = False) -> ReadPlan | tuple[Problem, ...]:
    """The plan in `answer`, or the problems that keep it from being one."""
    if len(answer.encode("utf-8", "replace")) > MAX_PLAN_BYTES:
        return (Problem(code="plan_too_large", message="The plan is larger than 512 KiB."),)
    try:
        data = json.loads(answer)
    except (json.JSONDecodeError, RecursionError) as error:
        if truncated:
            return (
                Problem(
                    code="plan_truncated",
                    message="The plan was cut off by the token limit; plan fewer or shorter calls.",
                ),
            )
        return (Problem(code="plan_malformed", message=f"The plan is not valid JSON: {error}."),)
    try:
        plan = _Plan.model_validate(data)
    except ValidationError as error:
        return tuple(
            Problem(
                code="plan_malformed",
                message=f"{'.'.join(map(str, item['loc'])) or 'the plan'}: {item['msg']}.",
            )
            for item in error.errors()[:8]
        )
    calls = tuple(
        PlannedCall(
            id=call.id,
            alias=call.alias,
            prompt=call.prompt,
            depends_on=tuple(dict.fromkeys(call.depends_on)),
            output_file=call.output_file,
            needs=tuple(call.needs),
        )
        for call in plan.worker_calls
    )
    return ReadPlan(continue_=plan.continue_, calls=calls)
