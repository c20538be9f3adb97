"""How a turn and a run end: what follows when the last call of a turn is over.

A run that named files has succeeded only when every one of them is there. One fruitless turn is
followed by another plan; two in a row are the end, with the reason, because people would rather
know at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from familiar import event as ev
from familiar.errors import FailureClass
from familiar.run.limits import RunLimits
from familiar.run.state import TERMINAL, CallState, CallStatus, RunState

BACKEND_CLASSES = frozenset(
    {
        FailureClass.BACKEND_UNREACHABLE,
        FailureClass.BACKEND_REFUSED,
        FailureClass.BACKEND_SLOW,
        FailureClass.BACKEND_STALLED,
        FailureClass.WORKBENCH_LOST,
    }
)


def after_turn(state: RunState, limits: RunLimits) -> ev.TurnStarted | ev.RunEnded | None:
    """The next turn, or the run's failure; None when the goal is met.

    A plan that wants to go on when no turn is left does not undo that every named file is there.
    """
    turn = state.turn
    if not state.missing and not turn.continue_ and not _owes_an_answer(state):
        return None
    if turn.number < limits.turns and _progressed(state):
        return ev.TurnStarted(turn=turn.number + 1)
    return None if state.wanted and not state.missing else _lack(state, limits)


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


def refusal_class(state: RunState, problems: Sequence[ev.Problem]) -> FailureClass:
    """What the last refused plan of a turn failed by.

    A plan that repeats one whose calls met a broken backend is not the cause: the backend is.
    """
    codes = {problem.code for problem in problems}
    if "plan_repeated" in codes:
        given_up = [state.calls[name] for turn in state.turns for name in turn.failed]
        causes = [call.failures[-1] for call in given_up if call.failures]
        only_backends = bool(causes) and BACKEND_CLASSES.issuperset(causes)
        return causes[-1] if only_backends else FailureClass.PLAN_REPEATED
    if codes == {"wire_truncated"}:
        return FailureClass.CALL_TRUNCATED
    if codes and all(code.startswith("wire_") for code in codes):
        return FailureClass.WIRE_MALFORMED
    return FailureClass.PLAN_INVALID


def budget(state: RunState, which: str) -> ev.RunEnded:
    """The end of a run that used up a budget; `which` names the setting and its value."""
    missing = f"; files missing: {', '.join(state.missing)}" if state.missing else ""
    return failure(f"the budget {which} is used up{missing}", FailureClass.BUDGET_EXHAUSTED)


def synthesis(state: RunState, call: CallState, text: ev.TextRef | None) -> ev.SynthesisMade:
    """The final synthesis. Without a text of the model's it is `listing`, which the performer
    stores."""
    inputs = [other.id for other in state.calls.values() if other.kind == "worker"]
    why = f"the synthesis call failed: {call.failures[-1]}" if call.failures else ""
    return ev.SynthesisMade(
        version=state.synthesis_version + 1,
        turn=call.turn,
        kind="final",
        source="rules" if text is None else "model",
        text=text or ev.text_ref(listing(state)),
        inputs=tuple(name for name in inputs if state.calls[name].status is CallStatus.DONE),
        adopted=True,
        reason=why if text is None else "first and final",
    )


def listing(state: RunState) -> str:
    """A synthesis without a model: the files that were made, and by which call."""
    lines = [f"- {path}: made by call {file.call}" for path, file in sorted(state.files.items())]
    return "\n".join(["What was made:", *lines] if lines else ["Nothing was made."])


def _owes_an_answer(state: RunState) -> bool:
    """A run that named no files is judged by its calls: none of the last turn may have failed."""
    return not state.wanted and bool(state.turn.failed)


def _progressed(state: RunState) -> bool:
    return len(state.turns) < 2 or any(turn.done for turn in state.turns[-2:])


def _lack(state: RunState, limits: RunLimits) -> ev.RunEnded:
    turn = state.turn
    causes = [state.calls[name] for name in turn.failed if state.calls[name].failures]
    reason = f"turn {turn.number} of {limits.turns} ended"
    if state.missing:
        reason += f" and these files are missing: {', '.join(state.missing)}"
    for call in causes:
        assert call.last_failure is not None
        reason += f"; call {call.id} failed: {call.last_failure.failure.message}"
    if causes:
        return failure(reason, causes[-1].failures[-1])
    lacking = FailureClass.FILES_MISSING if state.missing else FailureClass.BUDGET_EXHAUSTED
    return failure(reason, lacking)
