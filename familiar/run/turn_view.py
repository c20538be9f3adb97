"""The view of a turn (`familiar.plan.view`), taken from the state of its run."""

from __future__ import annotations

from familiar.config.schema import Config
from familiar.errors import FailureClass
from familiar.failure import FAILURES
from familiar.goal import Goal
from familiar.plan.view import (
    MAX_COMPARED,
    NO_LOAD,
    EarlierCall,
    FailedPlan,
    PoolLoad,
    TurnView,
    pool_state,
    roles_of,
)
from familiar.run.budget import notice
from familiar.run.state import CallState, CallStatus, RunState, TurnState


def view_turn(config: Config, state: RunState, goal: Goal, load: PoolLoad = NO_LOAD) -> TurnView:
    return TurnView(
        turn=state.turn.number,
        goal=goal,
        roles=roles_of(config),
        missing=state.missing,
        made=tuple(sorted({*state.files, *state.inherited})),
        earlier=tuple(_earlier(call) for call in state.calls.values() if call.kind == "worker"),
        shares_parts=config.contract.kind == "html-page",
        generator=pool_state(config).generator,
        reviewer=config.orchestrator.reviewer,
        max_calls=config.orchestrator.max_calls_per_turn,
        load=load,
        failed_plans=failed_plans(state),
        rejected_plans=tuple(state.rejected_plans[-MAX_COMPARED:]),
        # A session's own workspace is new, so nobody's programs act there yet.
        acting_files=tuple(config.workspace.acting_files) if config.workspace.repository else None,
        doubted=frozenset(state.doubted),
        notices=tuple(notice(reached) for reached in state.warned.values()),
    )


def failed_plans(state: RunState) -> tuple[FailedPlan, ...]:
    """The last plans of `state` that gave up a call, or made nothing at all, oldest first."""
    failed = [turn for turn in state.turns if turn.calls and turn.open_calls == 0 and turn.failed]
    return tuple(_failed_plan(turn, state) for turn in failed[-MAX_COMPARED:])


def _failed_plan(turn: TurnState, state: RunState) -> FailedPlan:
    reasons: dict[str, str] = {}
    to_blame: set[str] = set()
    failure: FailureClass | None = None
    for name in turn.failed:
        call = state.calls[name]
        if call.last_failure is None:
            continue
        record = call.last_failure.failure
        failure = record.failure_class
        reasons[name] = f"{record.failure_class}: {record.message}"
        if FAILURES[record.failure_class].blame == "call":
            to_blame.add(name)
    return FailedPlan(turn.number, turn.calls, reasons, frozenset(to_blame), failure)


def _earlier(call: CallState) -> EarlierCall:
    failed = call.last_failure if call.status is not CallStatus.DONE else None
    return EarlierCall(
        id=call.id,
        alias=call.planned.alias,
        status=call.status.value,
        output_file=call.planned.output_file,
        failure="" if failed is None else failed.failure.message,
        advice=call.advice,
    )
