"""What each event changes in the projections: pure functions, one for each type of event.

A function takes an event and gives the rows to write, in order, by the names of their columns. It
reads nothing, so that the same history gives the same rows whatever the sizes of the batches it
arrived in, and a rebuild gives what was there before. A status that follows from several events (a
planned call whose dependencies have ended is queued) is for the readers to derive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from actors.store import tables as t
from actors.store.writes import Change, Row, Value, change, change_open, put, put_lowest
from familiar import event as e
from familiar.errors import FailureClass

Projection = Callable[[e.Event, Any], Iterable[Change]]
"""`Any` stands for the body's own class, which the table below pairs with its function."""


def project(events: Iterable[e.Event]) -> Iterable[Change]:
    """The rows that `events` write beside themselves."""
    for event in events:
        yield from PROJECT[type(event.body)](event, event.body)


def _list(values: tuple[str, ...]) -> str:
    return to_json(values).decode() if values else "[]"


def _models(values: tuple[BaseModel, ...]) -> str:
    return to_json(values, exclude_none=True).decode() if values else "[]"


def _ref(name: str, ref: e.TextRef | None) -> Row:
    return {
        f"{name}_sha256": ref.sha256 if ref else None,
        f"{name}_size": ref.size if ref else None,
    }


def _decision(
    event: e.Event,
    choice: str,
    reasons: str,
    *,
    kind: str = "",
    turn: int | None = None,
    call: str | None = None,
    attempt: int | None = None,
    detail: Mapping[str, object] | None = None,
) -> Change:
    return put(
        t.DECISIONS,
        run_id=event.run_id,
        seq=event.seq,
        at=event.at,
        kind=kind or event.body.type,
        turn=turn,
        call_id=call,
        attempt=attempt,
        choice=choice,
        reasons=reasons,
        detail=to_json(detail).decode() if detail else "{}",
    )


def _call(event: e.Event, call: str, **values: Value) -> Change:
    return change(t.WORKER_CALLS, {"run_id": event.run_id, "call_id": call}, **values)


def _attempt(event: e.Event, body: e.CallSucceeded | e.CallFailed, **values: Value) -> Change:
    """The row of an attempt that ended. Its dispatch may be missing in a damaged history."""
    timing, usage = body.timing, body.usage
    return put(
        t.MODEL_CALLS,
        run_id=event.run_id,
        call_id=body.call,
        attempt=body.attempt,
        kind=body.kind,
        started_at=timing.started_at if timing else None,
        first_token_at=timing.first_token_at if timing else None,
        ended_at=timing.ended_at if timing else event.at,
        longest_gap_s=timing.longest_gap_s if timing else None,
        prompt_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        **_ref("raw", body.raw),
        reasoning=body.reasoning.sha256 if body.reasoning else None,
        **values,
    )


def _run_submitted(event: e.Event, body: e.RunSubmitted) -> Iterable[Change]:
    yield put_lowest(
        t.SESSIONS,
        "created_at",
        session_id=body.session_id,
        workspace=body.workspace,
        created_at=event.at,
    )
    yield put(
        t.RUNS,
        run_id=event.run_id,
        session_id=body.session_id,
        status="running",
        submitted_at=event.at,
        **_ref("goal", body.goal),
        files_wanted=_list(body.files),
        workspace=body.workspace,
        config_hash=body.config_hash,
        idempotency_key=body.idempotency_key,
    )


def _run_limits_noted(event: e.Event, body: e.RunLimitsNoted) -> Iterable[Change]:
    """The limits decide; no reader asks for them."""
    return ()


def _run_cancel_requested(event: e.Event, body: e.RunCancelRequested) -> Iterable[Change]:
    yield change(
        t.RUNS,
        {"run_id": event.run_id},
        status="cancelling",
        cancel_requested_at=event.at,
        cancel_reason=body.reason,
    )


def _run_ended(event: e.Event, body: e.RunEnded) -> Iterable[Change]:
    run: Row = {"run_id": event.run_id}
    yield change(
        t.RUNS,
        run,
        status=body.outcome,
        ended_at=event.at,
        reason=body.reason,
        failure_class=body.failure_class.value if body.failure_class else None,
    )
    yield change_open(t.WORKER_CALLS, run, status="cancelled")
    yield change_open(t.MODEL_CALLS, run, status="cancelled")


def _turn_started(event: e.Event, body: e.TurnStarted) -> Iterable[Change]:
    yield put(t.TURNS, run_id=event.run_id, turn=body.turn, started_at=event.at)


def _plan_accepted(event: e.Event, body: e.PlanAccepted) -> Iterable[Change]:
    run, reason = event.run_id, body.reason
    yield put(
        t.TURNS,
        run_id=run,
        turn=body.turn,
        planned_at=event.at,
        planner=body.planner,
        continues=body.continue_,
        repairs=_models(body.repairs),
        reason=reason,
    )
    for position, call in enumerate(body.calls):
        yield put(
            t.WORKER_CALLS,
            run_id=run,
            call_id=call.id,
            kind="worker",
            status="planned",
            turn=body.turn,
            position=position,
            alias=call.alias,
            output_file=call.output_file,
            prompt=call.prompt,
            needs=_list(call.needs),
        )
        for dependency in dict.fromkeys(call.depends_on):
            yield put(t.EDGES, run_id=run, call_id=call.id, depends_on=dependency)
    yield _decision(
        event,
        body.planner,
        _list((reason,) if reason else ()),
        turn=body.turn,
        detail={"continue": body.continue_, "calls": len(body.calls), "repairs": len(body.repairs)},
    )


def _plan_rejected(event: e.Event, body: e.PlanRejected) -> Iterable[Change]:
    yield _decision(
        event,
        "rejected",
        _list(tuple(problem.message for problem in body.problems)),
        turn=body.turn,
        attempt=body.attempt,
        detail={"codes": [problem.code for problem in body.problems]},
    )


def _planner_chosen(event: e.Event, body: e.PlannerChosen) -> Iterable[Change]:
    yield _decision(event, body.planner, _list(body.reasons), turn=body.turn)


def _call_dispatched(event: e.Event, body: e.CallDispatched) -> Iterable[Change]:
    both: Row = {
        "run_id": event.run_id,
        "call_id": body.call,
        "kind": body.kind,
        "status": "running",
        "turn": body.turn,
        "alias": body.alias,
        "output_file": body.output_file,
        "attempt": body.attempt,
    }
    yield put(t.WORKER_CALLS, **both, failure_class=None)
    yield put(
        t.MODEL_CALLS,
        **both,
        mode=body.mode,
        pool=body.pool,
        replica=body.replica,
        devices=_list(body.devices),
        queued_at=body.queued_at,
        dispatched_at=event.at,
        **_ref("prompt", body.prompt),
        prompt_name=body.prompt_name,
        prompt_version=body.prompt_version,
        grammar=body.grammar,
        **_ref("continues", body.continues),
    )
    if body.reasons:
        yield _decision(
            event,
            body.replica,
            _list(body.reasons),
            kind="route",
            turn=body.turn,
            call=body.call,
            attempt=body.attempt,
        )


def _call_adopted(event: e.Event, body: e.CallAdopted) -> Iterable[Change]:
    keys: Row = {"run_id": event.run_id, "call_id": body.call, "attempt": body.attempt}
    yield change(t.MODEL_CALLS, keys, adopted_by=body.holder)


def _call_succeeded(event: e.Event, body: e.CallSucceeded) -> Iterable[Change]:
    yield _call(event, body.call, status="succeeded", failure_class=None)
    yield _attempt(
        event,
        body,
        status="succeeded",
        **_ref("text", body.text),
        finish_reason=body.finish_reason,
        repairs=_list(body.repairs),
    )


def _call_failed(event: e.Event, body: e.CallFailed) -> Iterable[Change]:
    failure = body.failure
    status = "cancelled" if failure.failure_class is FailureClass.CANCELLED else "failed"
    yield _call(event, body.call, status=status, failure_class=failure.failure_class.value)
    yield _attempt(
        event,
        body,
        status=status,
        failure_class=failure.failure_class.value,
        failure_message=failure.message,
        failure_evidence=to_json(failure.evidence).decode(),
        partial=body.raw.sha256 if body.raw else None,
    )


def _call_skipped(event: e.Event, body: e.CallSkipped) -> Iterable[Change]:
    yield _call(event, body.call, status="skipped", skipped_because=_list(body.because))


def _recovery_chosen(event: e.Event, body: e.RecoveryChosen) -> Iterable[Change]:
    if body.action not in ("give_up", "split"):
        yield _call(event, body.call, status="queued", failure_class=None)
    avoided = {"avoid_replica": body.avoid_replica} if body.avoid_replica else {}
    yield _decision(
        event,
        body.action,
        _list(body.reasons),
        call=body.call,
        attempt=body.attempt,
        detail={**body.evidence, **avoided},
    )


def _budget_reached(event: e.Event, body: e.BudgetReached) -> Iterable[Change]:
    detail = {"limit": body.limit, "used": body.used, "soft": body.soft}
    yield _decision(event, "goes on" if body.soft else "ends", _list((body.budget,)), detail=detail)


def _file_published(event: e.Event, body: e.FilePublished) -> Iterable[Change]:
    yield _call(event, body.call, status="published", failure_class=None)
    yield put(
        t.FILES,
        run_id=event.run_id,
        path=body.path,
        seq=event.seq,
        at=event.at,
        call_id=body.call,
        attempt=body.attempt,
        sha256=body.sha256,
        size=body.size,
        git_commit=body.commit,
    )


def _stack_compacted(event: e.Event, body: e.StackCompacted) -> Iterable[Change]:
    tokens = {"tokens_before": body.tokens_before, "tokens_after": body.tokens_after}
    yield _decision(
        event,
        "compacted",
        _list((body.reason,)),
        turn=body.turn,
        detail={**tokens, "kept": body.kept, "dropped": body.dropped},
    )


def _synthesis_made(event: e.Event, body: e.SynthesisMade) -> Iterable[Change]:
    yield put(
        t.SYNTHESES,
        run_id=event.run_id,
        version=body.version,
        seq=event.seq,
        at=event.at,
        turn=body.turn,
        kind=body.kind,
        source=body.source,
        **_ref("text", body.text),
        inputs=_list(body.inputs),
        adopted=body.adopted,
        reason=body.reason,
        prompt_name=body.prompt_name,
        prompt_version=body.prompt_version,
        previous=body.previous,
        **_ref("diff", body.diff),
    )


PROJECT: Mapping[type[BaseModel], Projection] = {
    e.RunSubmitted: _run_submitted,
    e.RunLimitsNoted: _run_limits_noted,
    e.RunCancelRequested: _run_cancel_requested,
    e.RunEnded: _run_ended,
    e.TurnStarted: _turn_started,
    e.PlanAccepted: _plan_accepted,
    e.PlanRejected: _plan_rejected,
    e.PlannerChosen: _planner_chosen,
    e.CallDispatched: _call_dispatched,
    e.CallAdopted: _call_adopted,
    e.CallSucceeded: _call_succeeded,
    e.CallFailed: _call_failed,
    e.CallSkipped: _call_skipped,
    e.RecoveryChosen: _recovery_chosen,
    e.BudgetReached: _budget_reached,
    e.FilePublished: _file_published,
    e.StackCompacted: _stack_compacted,
    e.SynthesisMade: _synthesis_made,
}
