"""The events that the state of a run can take: the whole table.

A fact says what happened outside of the machine: an outcome, a file, a request, a deadline. It is
taken in every state. One that comes too late (the run has ended, the call is over, the attempt is
not the current one) changes nothing and is counted. A decision is the machine's own, or was made
from its state; one that the state cannot take means that the history is wrong, and raises.

A call with tools will have steps inside of an attempt: their events get their rows here.
"""

from __future__ import annotations

from collections.abc import Mapping

from familiar import event as ev
from familiar.errors import InvalidTransition
from familiar.plan.dag import dag
from familiar.run.state import CallState, CallStatus, RunState, plan_call_id

Fact = (
    ev.RunCancelRequested
    | ev.CallAdopted
    | ev.CallSucceeded
    | ev.CallFailed
    | ev.FilePublished
    | ev.BudgetReached
    | ev.StackCompacted
    | ev.RunLimitsNoted
)

CallBody = (
    ev.CallDispatched
    | ev.CallAdopted
    | ev.CallSucceeded
    | ev.CallFailed
    | ev.CallSkipped
    | ev.RecoveryChosen
    | ev.FilePublished
)

ALLOWED: Mapping[CallStatus, frozenset[type[CallBody]]] = {
    CallStatus.WAITING: frozenset({ev.CallSkipped}),
    CallStatus.QUEUED: frozenset({ev.CallDispatched, ev.CallFailed}),
    CallStatus.RUNNING: frozenset({ev.CallAdopted, ev.CallSucceeded, ev.CallFailed}),
    CallStatus.JUDGING: frozenset(),
    CallStatus.RECOVERING: frozenset({ev.RecoveryChosen}),
    CallStatus.PUBLISHING: frozenset({ev.FilePublished, ev.CallFailed}),
    CallStatus.DONE: frozenset(),
    CallStatus.FAILED: frozenset(),
    CallStatus.SKIPPED: frozenset(),
}
"""The events of a call in each of its states. All but `call.skipped` are of its current attempt."""


def hindrance(state: RunState, body: ev.Body) -> str:
    """Why `state` cannot take `body`; empty when it can. For a fact that is: it comes too late."""
    if isinstance(body, ev.RunSubmitted):
        if state.seq:
            return "the run is submitted already"
        return "" if body.limits else "it has no limits (see familiar.run.upcast)"
    if not state.seq:
        return "a history begins with run.submitted"
    if state.ended is not None:
        return "the run has ended"
    match body:
        case ev.TurnStarted():
            last = state.turns[-1].number if state.turns else 0
            return "" if body.turn == last + 1 else f"the last turn is {last}"
        case ev.PlanAccepted() | ev.PlanRejected() | ev.PlannerChosen():
            return _planning(state, body)
        case ev.SynthesisMade():
            last = state.syntheses[-1].version if state.syntheses else 0
            return "" if body.version == last + 1 else f"the last version is {last}"
        case ev.BudgetReached():
            known = body.budget in state.warned if body.soft else state.spent is not None
            return "it is recorded already" if known else ""
    return _calling(state, body) if isinstance(body, CallBody) else ""


def invalid(state: RunState, seq: int, body: ev.Body, reason: str) -> InvalidTransition:
    """The error for a decision that `state` cannot take, with the story of its call."""
    call = state.calls.get(name) if (name := getattr(body, "call", None)) else None
    story = () if call is None else tuple(_line(*event) for event in call.story)
    told = f" Events of call {name} before it: {'; '.join(story)}." if story else ""
    return InvalidTransition(
        f"Run {state.run_id} cannot take event {seq}, {body.type}: {reason}.{told}",
        run_id=state.run_id,
        call=name,
        story=story,
    )


def _planning(state: RunState, body: ev.PlanAccepted | ev.PlanRejected | ev.PlannerChosen) -> str:
    if not state.turns or body.turn != state.turn.number:
        return f"turn {body.turn} is not the current one"
    if state.turn.planner is not None:
        return f"turn {body.turn} has a plan already"
    if isinstance(body, ev.PlannerChosen):
        return ""
    if isinstance(body, ev.PlanRejected) or body.planner == "model":
        call = state.calls.get(plan_call_id(body.turn))
        if call is None or call.status is not CallStatus.JUDGING:
            return "no answer of the model is judged"
        if isinstance(body, ev.PlanRejected) and body.attempt != call.attempt:
            return f"attempt {body.attempt} is not the current one"
    return _graph(state, body) if isinstance(body, ev.PlanAccepted) else ""


def _graph(state: RunState, body: ev.PlanAccepted) -> str:
    ids = [call.id for call in body.calls]
    if len(set(ids)) < len(ids) or any(name in state.calls for name in ids):
        return "it uses the id of a call again"
    known = state.calls.keys() | set(ids)
    for call in body.calls:
        for name in call.depends_on:
            if name not in known:
                return f"call {call.id} depends on {name}, which does not exist"
            if name == call.id:
                return f"call {call.id} depends on itself"
    cycle = dag(body.calls).cycle
    return f"its calls wait for each other: {', '.join(cycle)}" if cycle else ""


def _calling(state: RunState, body: CallBody) -> str:
    call = state.calls.get(body.call)
    if call is None:
        return f"there is no call {body.call}"
    if type(body) not in ALLOWED[call.status]:
        return f"call {call.id} is {call.status}"
    if not isinstance(body, ev.CallSkipped) and body.attempt != call.attempt:
        return f"attempt {body.attempt} is not the current one, {call.attempt}"
    return ""


def noted(call: CallState, seq: int, body: ev.Body) -> None:
    """Add an event to the story of its call."""
    call.story.append((seq, body.type, getattr(body, "attempt", None)))


def _line(seq: int, name: str, attempt: int | None) -> str:
    return f"{seq} {name}" if attempt is None else f"{seq} {name} (attempt {attempt})"
