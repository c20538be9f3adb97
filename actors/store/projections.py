"""What each event changes in the projections: pure functions, one for each type of event.

A function takes an event and gives the rows to write, in order. It reads nothing, so that the
same history gives the same rows whatever the sizes of the batches it arrived in, and a rebuild
gives what was there before. A status that follows from several events (a planned call whose
dependencies have ended is queued) is for the readers to derive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from actors.store import writes as w
from actors.store.writes import Row, Write
from familiar import event as e
from familiar.errors import FailureClass

Change = tuple[Write, Row]
Projection = Callable[[e.Event, Any], Iterable[Change]]
"""`Any` stands for the body's own class, which the table below pairs with its function."""


def project(event: e.Event) -> Iterable[Change]:
    """The rows that `event` writes beside itself."""
    return PROJECT[type(event.body)](event, event.body)


def _list(values: tuple[str, ...]) -> str:
    return to_json(values).decode() if values else "[]"


def _models(values: tuple[BaseModel, ...]) -> str:
    return to_json(values, exclude_none=True).decode() if values else "[]"


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
    written = to_json(detail).decode() if detail else "{}"
    kind = kind or event.body.type
    row = (event.run_id, event.seq, event.at, kind, turn, call, attempt, choice, reasons, written)
    return w.DECISION, row


def _message(
    event: e.Event, role: str, kind: str, ref: e.TextRef, call: str | None = None
) -> Change:
    row = (event.run_id, event.seq, event.at, role, kind, call, ref.sha256, ref.size)
    return w.MESSAGE, row


def _run_submitted(event: e.Event, body: e.RunSubmitted) -> Iterable[Change]:
    yield w.SESSION, (body.session_id, body.workspace, event.at)
    yield (
        w.RUN_SUBMITTED,
        (
            event.run_id,
            body.session_id,
            "running",
            event.at,
            body.goal.sha256,
            body.goal.size,
            _list(body.files),
            body.workspace,
            body.config_hash,
            body.idempotency_key,
        ),
    )
    yield _message(event, "user", "goal", body.goal)


def _run_limits_noted(event: e.Event, body: e.RunLimitsNoted) -> Iterable[Change]:
    """The limits decide; no reader asks for them."""
    return ()


def _run_cancel_requested(event: e.Event, body: e.RunCancelRequested) -> Iterable[Change]:
    yield w.RUN_CANCELLING, ("cancelling", event.at, body.reason, event.run_id)


def _run_ended(event: e.Event, body: e.RunEnded) -> Iterable[Change]:
    failure = body.failure_class.value if body.failure_class else None
    yield w.RUN_ENDED, (body.outcome, event.at, body.reason, failure, event.run_id)
    yield w.CALLS_LEFT, ("cancelled", event.run_id)
    yield w.TRIES_LEFT, ("cancelled", event.run_id)


def _turn_started(event: e.Event, body: e.TurnStarted) -> Iterable[Change]:
    yield w.TURN_STARTED, (event.run_id, body.turn, event.at)


def _plan_accepted(event: e.Event, body: e.PlanAccepted) -> Iterable[Change]:
    run, reason, repairs = event.run_id, body.reason, _models(body.repairs)
    planned = (run, body.turn, event.at, body.planner, body.continue_, repairs, reason)
    yield w.TURN_PLANNED, planned
    for position, call in enumerate(body.calls):
        yield (
            w.CALL_PLANNED,
            (
                run,
                call.id,
                "worker",
                "planned",
                body.turn,
                position,
                call.alias,
                call.output_file,
                call.prompt,
                _list(call.needs),
            ),
        )
        for dependency in dict.fromkeys(call.depends_on):
            yield w.EDGE, (run, call.id, dependency)
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
    run, call, turn, alias = event.run_id, body.call, body.turn, body.alias
    running = (run, call, body.kind, "running", turn, alias, body.output_file, body.attempt, None)
    yield w.CALL_RUNNING, running
    yield (
        w.TRY_DISPATCHED,
        (
            run,
            call,
            body.attempt,
            body.kind,
            "running",
            turn,
            alias,
            body.mode,
            body.pool,
            body.replica,
            _list(body.devices),
            body.queued_at,
            event.at,
            body.prompt.sha256,
            body.prompt.size,
            body.prompt_name,
            body.prompt_version,
            body.grammar,
            body.output_file,
            body.continues.sha256 if body.continues else None,
            body.continues.size if body.continues else None,
        ),
    )
    if body.reasons:
        reasons = _list(body.reasons)
        yield _decision(
            event,
            body.replica,
            reasons,
            kind="route",
            turn=turn,
            call=call,
            attempt=body.attempt,
        )


def _call_adopted(event: e.Event, body: e.CallAdopted) -> Iterable[Change]:
    yield w.TRY_ADOPTED, (body.holder, event.run_id, body.call, body.attempt)


def _call_succeeded(event: e.Event, body: e.CallSucceeded) -> Iterable[Change]:
    run, timing, usage, raw, text = event.run_id, body.timing, body.usage, body.raw, body.text
    yield w.CALL_STATUS, ("succeeded", None, run, body.call)
    yield (
        w.TRY_SUCCEEDED,
        (
            run,
            body.call,
            body.attempt,
            body.kind,
            "succeeded",
            timing.started_at,
            timing.first_token_at,
            timing.ended_at,
            timing.longest_gap_s,
            usage.prompt_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            raw.sha256,
            raw.size,
            text.sha256,
            text.size,
            body.finish_reason,
            _list(body.repairs),
        ),
    )
    if body.kind == "plan":
        yield _message(event, "assistant", "plan", raw, body.call)


def _call_failed(event: e.Event, body: e.CallFailed) -> Iterable[Change]:
    run, failure, timing, usage, raw = (
        event.run_id,
        body.failure,
        body.timing,
        body.usage,
        body.raw,
    )
    status = "cancelled" if failure.failure_class is FailureClass.CANCELLED else "failed"
    yield w.CALL_STATUS, (status, failure.failure_class.value, run, body.call)
    yield (
        w.TRY_FAILED,
        (
            run,
            body.call,
            body.attempt,
            body.kind,
            status,
            timing.started_at if timing else None,
            timing.first_token_at if timing else None,
            timing.ended_at if timing else event.at,
            timing.longest_gap_s if timing else None,
            usage.prompt_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            raw.sha256 if raw else None,
            raw.size if raw else None,
            failure.failure_class.value,
            failure.message,
            to_json(failure.evidence).decode(),
            body.partial.sha256 if body.partial else None,
        ),
    )


def _call_skipped(event: e.Event, body: e.CallSkipped) -> Iterable[Change]:
    yield w.CALL_SKIPPED, ("skipped", _list(body.because), event.run_id, body.call)


def _recovery_chosen(event: e.Event, body: e.RecoveryChosen) -> Iterable[Change]:
    if body.action not in ("give_up", "split"):
        yield w.CALL_STATUS, ("queued", None, event.run_id, body.call)
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
    run, call = event.run_id, body.call
    yield w.CALL_STATUS, ("published", None, run, call)
    where = (run, body.path, event.seq, event.at, call, body.attempt)
    yield w.FILE, (*where, body.sha256, body.size, body.commit)


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
    yield (
        w.SYNTHESIS,
        (
            event.run_id,
            body.version,
            event.seq,
            event.at,
            body.turn,
            body.kind,
            body.source,
            body.text.sha256,
            body.text.size,
            _list(body.inputs),
            body.adopted,
            body.reason,
            body.prompt_name,
            body.prompt_version,
            body.previous,
            body.diff.sha256 if body.diff else None,
            body.diff.size if body.diff else None,
        ),
    )
    yield _message(event, "assistant", "synthesis", body.text)


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
