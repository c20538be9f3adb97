"""The event that ends an attempt, and the outcome of an attempt whose replica is lost."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pydantic import JsonValue

from familiar import event as ev
from familiar.call import CallKey, CallKind, CallOutcome, Failure, Timing, Usage
from familiar.errors import FailureClass


def lost_outcome(
    key: CallKey,
    failure_class: FailureClass,
    message: str,
    evidence: Mapping[str, JsonValue] | None = None,
) -> CallOutcome:
    """The outcome of an attempt of whose stream nothing is known here."""
    now = time.time()
    return CallOutcome(
        key=key,
        timing=Timing(started_at=now, ended_at=now),
        usage=Usage(),
        failure=Failure(failure_class, message, evidence or {}),
    )


def terminal_event(
    outcome: CallOutcome, kind: CallKind
) -> tuple[ev.CallSucceeded | ev.CallFailed, dict[str, str]]:
    """`call.succeeded` or `call.failed`; the texts are by SHA-256."""
    raw = ev.text_ref(outcome.raw)
    texts = {raw.sha256: outcome.raw}
    reasoning = ev.text_ref(outcome.reasoning) if outcome.reasoning else None
    if reasoning is not None:
        texts[reasoning.sha256] = outcome.reasoning
    if outcome.failure is not None:
        failed = ev.CallFailed(
            call=outcome.key.call_id,
            attempt=outcome.key.attempt,
            kind=kind,
            failure=outcome.failure,
            timing=outcome.timing,
            usage=outcome.usage,
            raw=raw if outcome.raw else None,
            partial_incomplete=outcome.partial_incomplete,
            reasoning=reasoning,
        )
        return failed, texts
    text = raw if outcome.text is outcome.raw else ev.text_ref(outcome.text)
    texts[text.sha256] = outcome.text
    succeeded = ev.CallSucceeded(
        call=outcome.key.call_id,
        attempt=outcome.key.attempt,
        kind=kind,
        raw=raw,
        text=text,
        timing=outcome.timing,
        usage=outcome.usage,
        finish_reason=outcome.finish_reason,
        repairs=outcome.repairs,
        reasoning=reasoning,
    )
    return succeeded, texts
