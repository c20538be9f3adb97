"""The end of a turn and of a run: the decision when the last call of a turn is over.

A run that named files has succeeded only when every one of them is there. One fruitless turn is
followed by another plan; two in a row are the end, with the reason, because people would rather
know at once. A budget that is used up ends the run with what there is (`budget`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from familiar import event as ev
from familiar.errors import FailureClass
from familiar.failure import blamed_on
from familiar.limits import RunLimits
from familiar.run.budget import used_up
from familiar.run.state import TERMINAL, CallStatus, RunState


def after_turn(
    state: RunState, limits: RunLimits
) -> ev.TurnStarted | ev.RunEnded | Literal["goal met", "turns"]:
    """The next turn, or the run's failure, or that the goal is met, or that the turns are used up.

    A plan that wants to go on when no turn is left does not undo that every named file is there.
    """
    turn = state.turn
    if not state.missing and not turn.continue_ and not _owes_an_answer(state):
        return "goal met"
    left = turn.number < limits.turns
    if left and _progressed(state):
        return ev.TurnStarted(turn=turn.number + 1)
    if state.wanted and not state.missing:
        return "goal met"
    return _lack(state, limits) if left else "turns"


def success(state: RunState) -> ev.RunEnded:
    """The end of a run whose goal is met; calls that were given up are named."""
    made = f"{len(state.files)} files" if state.files else "the answer"
    given_up = [
        call.id
        for call in state.calls.values()
        if call.kind == "worker" and call.status in TERMINAL and call.status is not CallStatus.DONE
    ]
    aside = f"; given up: {', '.join(given_up)}" if given_up else ""
    unfinished = "; the last plan wanted another turn" if state.turn.continue_ else ""
    turns = len(state.turns)
    return ev.RunEnded(
        outcome="succeeded", reason=f"{made} after {turns} turn(s){aside}{unfinished}"
    )


def failure(reason: str, failure_class: FailureClass) -> ev.RunEnded:
    return ev.RunEnded(outcome="failed", reason=reason, failure_class=failure_class)


def rejection_class(state: RunState, problems: Sequence[ev.Problem]) -> FailureClass:
    """The failure class of the last rejected plan of a turn.

    A plan that repeats one whose calls met a broken backend is not the cause: the backend is.
    """
    codes = {problem.code for problem in problems}
    if "plan_repeated" in codes:
        given_up = [state.calls[name] for turn in state.turns for name in turn.failed]
        causes = [call.failures[-1] for call in given_up if call.failures]
        only_backends = bool(causes) and blamed_on("backend").issuperset(causes)
        return causes[-1] if only_backends else FailureClass.PLAN_REPEATED
    if codes == {"wire_truncated"}:
        return FailureClass.CALL_TRUNCATED
    if codes and all(code.startswith("wire_") for code in codes):
        return FailureClass.WIRE_MALFORMED
    return FailureClass.PLAN_INVALID


def cancelled(reason: str) -> ev.RunEnded:
    return ev.RunEnded(
        outcome="cancelled",
        reason=reason or "cancelled on request",
        failure_class=FailureClass.CANCELLED,
    )


def out_of_budget(state: RunState, reached: ev.BudgetReached) -> ev.RunEnded:
    """The end of a run that used up a budget: it has succeeded if every named file is there."""
    if state.wanted and not state.missing:
        end = success(state)
        return end.model_copy(update={"reason": f"{end.reason}; {used_up(reached)}"})
    reason = used_up(reached)
    if state.missing:
        reason += f"; files missing: {', '.join(state.missing)}"
    return failure(reason + _causes(state), FailureClass.BUDGET_EXHAUSTED)


def _owes_an_answer(state: RunState) -> bool:
    """A run that named no files is judged by its calls: none of the last turn may have failed."""
    return not state.wanted and bool(state.turn.failed)


def _progressed(state: RunState) -> bool:
    return len(state.turns) < 2 or any(turn.done for turn in state.turns[-2:])


def _lack(state: RunState, limits: RunLimits) -> ev.RunEnded:
    turn = state.turn
    reason = f"turn {turn.number} of {limits.turns} ended"
    if state.missing:
        reason += f" and these files are missing: {', '.join(state.missing)}"
    failed = [state.calls[name] for name in turn.failed if state.calls[name].failures]
    if failed:
        return failure(reason + _causes(state), failed[-1].failures[-1])
    lacking = FailureClass.FILES_MISSING if state.missing else FailureClass.BUDGET_EXHAUSTED
    return failure(reason, lacking)


def _causes(state: RunState) -> str:
    """The failures of the last turn, as the rest of a sentence."""
    said = ""
    for call in (state.calls[name] for name in (state.turn.failed if state.turns else ())):
        if call.last_failure is not None:
            said += f"; call {call.id} failed: {call.last_failure.failure.message}"
    return said
