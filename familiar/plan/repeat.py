"""Plans that failed in this run and are planned again: `plan_repeated`.

Three kinds of repetition are rejected. The message names the failure and how a plan would differ:
the whole plan again, or a nearly equal one; a single call again that failed by its size or its
answer (its turn's other calls may have succeeded); and the same plan that was rejected before,
while it is not valid. A plan that asks for at least a quarter less is another plan, also with
similar words. Where a length is a guess, a near plan is questioned once and then runs; an equal one
never does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from familiar.event import PlannedCall, Problem
from familiar.plan.capacity import SEND_AGAIN, Finding, doubt_key
from familiar.plan.estimate import estimate_output
from familiar.plan.fingerprint import NEAR, digest, fingerprint
from familiar.plan.view import FailedPlan, TurnView

LESS = 0.75
"""Share of the failed plan's expected tokens below which a near plan counts as another one."""

_SAY = 300


def repeat_findings(calls: Sequence[PlannedCall], view: TurnView) -> Iterator[Finding]:
    """Compare with the failed plans of `view`, which are bounded in number."""
    if not calls or not view.failed_plans:
        return
    new = digest(calls)
    for failed in reversed(view.failed_plans):
        nearness = new.nearness(digest(failed.calls))
        if nearness >= NEAR:
            found = _finding(calls, failed.calls, nearness, view, _whole(failed, nearness))
            if found is not None:
                yield found
                return
    yield from _single(calls, view)


def rejected_again(calls: Sequence[PlannedCall], view: TurnView) -> Problem | None:
    """The problem that this plan was rejected before; it stands beside its other problems."""
    if not calls or fingerprint(calls) not in view.rejected_plans:
        return None
    return Problem(
        code="plan_repeated",
        message="This same plan was rejected before in this run and is rejected again for what "
        "follows; change the calls that are named.",
    )


def repeats_exactly(calls: Sequence[PlannedCall], view: TurnView) -> FailedPlan | None:
    """The failed plan that `calls` are equal to; None when they are another plan."""
    own = fingerprint(calls)
    return next((plan for plan in view.failed_plans if fingerprint(plan.calls) == own), None)


def _single(calls: Sequence[PlannedCall], view: TurnView) -> Iterator[Finding]:
    """Calls that failed by their own request, planned again for the same role and file."""
    known: dict[tuple[str, str | None], list[tuple[FailedPlan, PlannedCall]]] = {}
    for plan in view.failed_plans:
        for call in plan.calls:
            if call.id in plan.to_blame:
                known.setdefault((call.alias, call.output_file), []).append((plan, call))
    for call in calls:
        # Answers without a file have no other name, so only the newest few are looked at.
        for plan, before in reversed(known.get((call.alias, call.output_file), [])[-8:]):
            alone = [call.model_copy(update={"depends_on": ()})]
            earlier = [before.model_copy(update={"depends_on": ()})]
            nearness = digest(alone).nearness(digest(earlier))
            if nearness < NEAR:
                continue
            message = (
                f"{call.id} asks {call.alias} for what {before.id} of turn {plan.turn} "
                f"asked for ({_alike(nearness)}), which failed: "
                f"{plan.reasons[before.id][:_SAY]} Split it, ask for less, or give it to another "
                "role."
            )
            found = _finding(alone, earlier, nearness, view, message, call.id)
            if found is not None:
                yield found
                break


def _finding(
    calls: Sequence[PlannedCall],
    before: Sequence[PlannedCall],
    nearness: float,
    view: TurnView,
    message: str,
    call: str | None = None,
) -> Finding | None:
    """The finding that `calls` repeat `before`; None where they ask for clearly less. It is sure
    for equal plans, and for near ones whose calls all state their lengths."""
    new = [estimate_output(one, view.goal) for one in calls]
    old = [estimate_output(one, view.goal) for one in before]
    less = sum(one.tokens for one in new) <= LESS * sum(one.tokens for one in old)
    if nearness < 1.0 and less:
        return None
    sure = nearness == 1.0 or all(one.stated for one in (*new, *old))
    text = message if sure else message + SEND_AGAIN
    problem = Problem(code="plan_repeated", call=call, message=text)
    key = doubt_key("plan_repeated", calls)
    return Finding(problem) if sure else Finding(problem, (key,), key in view.doubted)


def _whole(failed: FailedPlan, nearness: float) -> str:
    reasons = "; ".join(f"{name}: {why[:_SAY]}" for name, why in list(failed.reasons.items())[:4])
    return (
        f"This plan and the one of turn {failed.turn} are {_alike(nearness)}, and that one failed "
        f"({reasons or 'nothing was made'}). Plan something else: split the calls that failed, ask "
        "for less in each, or use another role."
    )


def _alike(nearness: float) -> str:
    return "equal" if nearness == 1.0 else f"nearly equal, {nearness:.2f} of their word pairs"
