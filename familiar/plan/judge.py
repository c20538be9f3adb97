"""From an answer to a decision: read it, lint it, and make the event to record."""

from __future__ import annotations

from collections.abc import Mapping

from familiar.event import PlanAccepted, PlanRejected, Problem
from familiar.plan.fingerprint import fingerprint
from familiar.plan.lint import lint
from familiar.plan.read import PlanWire, ReadPlan, read_plan
from familiar.plan.view import TurnView


def judge_plan(
    answer: str,
    view: TurnView,
    attempt: int,
    *,
    wire: PlanWire | None = None,
    finish_reason: str | None = None,
) -> PlanAccepted | PlanRejected:
    """The decision about an orchestrator's answer. Takes time linear in the answer and the view."""
    plan = read_plan(answer, wire=wire, finish_reason=finish_reason)
    if not isinstance(plan, ReadPlan):
        return PlanRejected(turn=view.turn, attempt=attempt, problems=plan)
    linted = lint(plan, view)
    if linted.problems:
        return PlanRejected(
            turn=view.turn,
            attempt=attempt,
            problems=linted.problems,
            fingerprint=fingerprint(linted.calls),
            doubted=linted.doubted,
        )
    repairs = (*plan.repairs, *linted.repairs)
    return PlanAccepted(
        turn=view.turn,
        planner="model",
        continue_=plan.continue_,
        calls=linted.calls,
        repairs=repairs,
        reason="valid" if not repairs else "valid after safe repairs",
    )


def reject_paths(
    plan: PlanAccepted, attempt: int, unwritable: Mapping[str, str]
) -> PlanAccepted | PlanRejected:
    """The decision about a plan that is sound by itself, once the workspace has been looked at:
    `unwritable` has its reasons against output files of the plan."""
    problems = tuple(
        Problem(
            code="path_blocked",
            call=call.id,
            message=f"{call.id} cannot write {call.output_file}. {unwritable[call.output_file]}",
        )
        for call in plan.calls
        if call.output_file is not None and call.output_file in unwritable
    )
    if not problems:
        return plan
    return PlanRejected(
        turn=plan.turn, attempt=attempt, problems=problems, fingerprint=fingerprint(plan.calls)
    )
