"""Plans that ask for more than there is time or room for: `oversized` and `too_wide`.

Both do arithmetic and put it into the message. Seconds need a measured rate (tokens/s that one call
of the role usually gets); without one only what does not depend on time is judged. A refusal rests
on `Estimate.at_least`, so a call that merely may become long runs; a queue is normal, so a plan is
too wide only when its last call would start behind its queue deadline.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

from familiar.event import PlannedCall, Problem
from familiar.plan.estimate import Estimate, estimate_output
from familiar.plan.view import Role, TurnView

PROMPT_CHARS_PER_TOKEN = 4.5
"""Characters of English that a token holds at most, so that a prompt is never counted too long."""

ROOM = 0.8
"""How much of a limit the pieces of a split call should use."""


def capacity_problems(calls: Sequence[PlannedCall], view: TurnView) -> Iterator[Problem]:
    """`oversized` for single calls, `too_wide` for roles. Linear in the prompts and the edges,
    which must be free of cycles."""
    roles = {role.alias: role for role in view.roles}
    estimates = {call.id: estimate_output(call, view.goal) for call in calls}
    for call in calls:
        role = roles.get(call.alias)
        if role is not None:
            problem = _oversized(call, estimates[call.id], role, view.rates.get(call.alias))
            if problem is not None:
                yield problem
    yield from _too_wide(calls, estimates, roles, view)


def _oversized(
    call: PlannedCall, estimate: Estimate, role: Role, rate: float | None
) -> Problem | None:
    """The first limit that the call is sure to pass: its cut, its context, its deadline."""
    least = estimate.at_least
    prompt = math.ceil(len(call.prompt) / PROMPT_CHARS_PER_TOKEN)
    left = role.context_length - prompt
    if least > role.max_tokens:
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
    return Problem(
        code="oversized",
        call=call.id,
        message=f"{call.id} asks for about {estimate.tokens} tokens (at least {least}: "
        f"{estimate.why}), and {why}. Split it into {pieces} calls with one file or part each, "
        "or ask for less.",
    )


def _too_wide(
    calls: Sequence[PlannedCall],
    estimates: dict[str, Estimate],
    roles: dict[str, Role],
    view: TurnView,
) -> Iterator[Problem]:
    ready: dict[tuple[str, int], list[PlannedCall]] = {}
    depths = _depths(calls)
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
        yield Problem(
            code="too_wide",
            message=f"{len(together)} calls of {alias} become ready at once and {role.at_once} run "
            f"side by side; at {rate:.3g} tokens/s one takes at least {usual:.0f} s, so the last "
            f"would start after {wait:.0f} s and its queue deadline is "
            f"{role.queue_deadline_s:g} s. Plan at most {most} of them in this turn and the others "
            "in the next.",
        )


def _last_start(seconds: Sequence[float], at_once: int) -> float:
    """When the last of the calls starts, each taking the first slot that is free."""
    slots = [0.0] * at_once
    latest = 0.0
    for duration in seconds:
        latest = max(latest, slots[0])
        heapq.heapreplace(slots, slots[0] + duration)
    return latest


def _depths(calls: Sequence[PlannedCall]) -> dict[str, int]:
    """By id, the longest chain of calls of this plan that a call waits behind."""
    inside = {call.id: call for call in calls}
    blocked = {
        call.id: sum(1 for name in call.depends_on if name in inside) for call in inside.values()
    }
    after: dict[str, list[str]] = {}
    for call in inside.values():
        for name in call.depends_on:
            if name in inside:
                after.setdefault(name, []).append(call.id)
    depths = dict.fromkeys(inside, 0)
    free = [name for name, count in blocked.items() if count == 0]
    while free:
        name = free.pop()
        for waiting in after.get(name, ()):
            depths[waiting] = max(depths[waiting], depths[name] + 1)
            blocked[waiting] -= 1
            if blocked[waiting] == 0:
                free.append(waiting)
    return depths
