"""Plans that ask for more than there is time or room for: `oversized` and `too_wide`.

Both do arithmetic and put it into the message. Seconds need a measured rate (tokens/s that one call
of the role usually gets); without one only what does not depend on time is judged. A finding rests
on `Estimate.at_least`, so a call that merely may become long runs; a queue is normal, so a plan is
too wide only when its last call would start behind its queue deadline.

A finding is sure where the prompts state their lengths, or where a prompt alone fills the context.
Any other rests on a guess: it questions a call once in a run, and when the orchestrator asks for
the same call again, the call runs and the finding is recorded as a doubt.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from familiar.event import PlannedCall, Problem
from familiar.plan.dag import dag
from familiar.plan.estimate import Estimate, estimate_output
from familiar.plan.fingerprint import fingerprint
from familiar.plan.view import Role, TurnView

PROMPT_CHARS_PER_TOKEN = 4.5
"""Characters of English that a token holds at most, so that a prompt is never counted too long."""

ROOM = 0.8
"""Share of a limit that the pieces of a split call should use."""


SEND_AGAIN = " This length is a guess: if it is wrong, send the same call again and it will run."


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that may rest on a guessed length. `doubts` are the calls that a guess questions
    now, as keys for `TurnView.doubted`; empty where the finding is sure. A `settled` one was
    questioned before."""

    problem: Problem
    doubts: tuple[str, ...] = ()
    settled: bool = False

    def as_doubt(self) -> Problem:
        """The record of a plan that runs in spite of the finding."""
        said = self.problem.message.removesuffix(SEND_AGAIN)
        return Problem(
            code="length_doubted",
            call=self.problem.call,
            message=f"Accepted because the plan repeats the call, despite this estimate: {said}",
        )


def capacity_findings(calls: Sequence[PlannedCall], view: TurnView) -> Iterator[Finding]:
    """`oversized` for single calls, `too_wide` for roles. Linear in the prompts and the edges,
    which must be free of cycles."""
    roles = {role.alias: role for role in view.roles}
    estimates = {call.id: estimate_output(call, view.goal) for call in calls}
    for call in calls:
        role = roles.get(call.alias)
        if role is not None:
            finding = _oversized(call, estimates[call.id], role, view)
            if finding is not None:
                yield finding
    yield from _too_wide(calls, estimates, roles, view)


def _oversized(call: PlannedCall, estimate: Estimate, role: Role, view: TurnView) -> Finding | None:
    """The first limit that the call will pass: its cut, its context, its deadline."""
    least, rate = estimate.at_least, view.rates.get(call.alias)
    prompt = math.ceil(len(call.prompt) / PROMPT_CHARS_PER_TOKEN)
    left = role.context_length - prompt
    if left > 0 and least > role.max_tokens:
        limit = role.max_tokens
        why = f"an answer of {call.alias} is cut at {limit} tokens"
    elif least > left:
        limit = max(1, left)
        why = (
            f"the context of {call.alias} has {role.context_length} tokens, of which the prompt "
            f"takes about {prompt} and leaves {max(0, left)}"
        )
    elif rate and least > rate * role.deadline_s:
        limit = max(1, int(rate * role.deadline_s))
        why = (
            f"{call.alias} writes {rate:.3g} tokens/s for one call, so they take "
            f"{estimate.tokens / rate:.0f} s (at least {least / rate:.0f} s) and its deadline is "
            f"{role.deadline_s:g} s, in which {limit} tokens can be written"
        )
    else:
        return None
    pieces = max(2, math.ceil(estimate.tokens / (ROOM * limit)))
    sure = estimate.stated or left <= 0
    key = doubt_key("oversized", [call])
    problem = Problem(
        code="oversized",
        call=call.id,
        message=f"{call.id} asks for about {estimate.tokens} tokens (at least {least}: "
        f"{estimate.why}), and {why}. Split it into {pieces} calls with one file or part each, "
        f"or ask for less.{'' if sure else SEND_AGAIN}",
    )
    return Finding(problem) if sure else Finding(problem, (key,), key in view.doubted)


def doubt_key(code: str, calls: Sequence[PlannedCall]) -> str:
    """The key for `TurnView.doubted`: `calls` by what they ask for, whatever their names. One call
    counts whatever its place in the plan."""
    alone = [call.model_copy(update={"depends_on": ()}) for call in calls]
    return f"{code}:{fingerprint(alone if len(calls) == 1 else calls)}"


def _too_wide(
    calls: Sequence[PlannedCall],
    estimates: dict[str, Estimate],
    roles: dict[str, Role],
    view: TurnView,
) -> Iterator[Finding]:
    ready: dict[tuple[str, int], list[PlannedCall]] = {}
    depths = dag(calls).depths()
    for call in calls:
        ready.setdefault((call.alias, depths[call.id]), []).append(call)
    for (alias, _), together in ready.items():
        role, rate = roles.get(alias), view.rates.get(alias)
        if role is None or not rate or len(together) <= role.at_once:
            continue
        # What a call is not sure to write is not held against the plan, but no call is free.
        seconds = [
            max(1, estimates[call.id].at_least or estimates[call.id].tokens // 2) / rate
            for call in together
        ]
        wait = _last_start(seconds, role.at_once)
        if wait <= role.queue_deadline_s:
            continue
        usual = sum(seconds) / len(seconds)
        most = role.at_once * (int(role.queue_deadline_s / usual) + 1)
        most = max(role.at_once, min(most, len(together) - 1))
        sure = all(estimates[call.id].stated for call in together)
        keys = () if sure else tuple(doubt_key("too_wide", [call]) for call in together)
        new = sum(1 for key in keys if key not in view.doubted)
        problem = Problem(
            code="too_wide",
            message=f"{len(together)} calls of {alias} become ready at once and {role.at_once} run "
            f"side by side; at {rate:.3g} tokens/s one takes at least {usual:.0f} s, so the last "
            f"would start after {wait:.0f} s and its queue deadline is "
            f"{role.queue_deadline_s:g} s. Plan at most {most} of them in this turn and the others "
            f"in the next.{'' if sure else SEND_AGAIN}",
        )
        yield Finding(problem, keys, settled=not sure and new <= role.at_once)


def _last_start(seconds: Sequence[float], at_once: int) -> float:
    """When the last of the calls starts, each taking the first slot that is free."""
    slots = [0.0] * at_once
    latest = 0.0
    for duration in seconds:
        latest = max(latest, slots[0])
        heapq.heapreplace(slots, slots[0] + duration)
    return latest
