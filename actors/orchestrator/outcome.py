"""What came of a try: the event that it ends with, and the outcome of one that nobody could carry
out."""

from __future__ import annotations

import time
from collections.abc import Mapping

from familiar import event as ev
from familiar.call import CallKey, CallKind, CallOutcome, Failure, JsonScalar, Timing, Usage
from familiar.errors import FailureClass


def lost_outcome(
    key: CallKey,
    failure_class: FailureClass,
    message: str,
    evidence: Mapping[str, JsonScalar] | None = None,
) -> CallOutcome:
    """The outcome of a try of whose stream nothing is known here."""
    now = time.time()
    return CallOutcome(
        key=key,
        timing=Timing(now, None, now),
        usage=Usage(),
        failure=Failure(failure_class, message, dict(evidence or {})),
    )


def terminal_event(
    outcome: CallOutcome, kind: CallKind
) -> tuple[ev.CallSucceeded | ev.CallFailed, dict[str, str]]:
    """`call.succeeded` or `call.failed`; the texts are by SHA-256."""
    timing = ev.TimingRecord(
        started_at=outcome.timing.started_at,
        first_token_at=outcome.timing.first_token_at,
        ended_at=outcome.timing.ended_at,
        longest_gap_s=outcome.timing.longest_gap_s,
    )
    usage = ev.UsageRecord(
        prompt_tokens=outcome.usage.prompt_tokens,
        output_tokens=outcome.usage.output_tokens,
        cached_tokens=outcome.usage.cached_tokens,
    )
    raw = ev.text_ref(outcome.raw)
    texts = {raw.sha256: outcome.raw}
    if outcome.failure is not None:
        failure = ev.FailureRecord(
            failure_class=outcome.failure.failure_class,
            message=outcome.failure.message,
            evidence=dict(outcome.failure.evidence),
        )
        failed = ev.CallFailed(
            call=outcome.key.call_id,
            attempt=outcome.key.attempt,
            kind=kind,
            failure=failure,
            timing=timing,
            usage=usage,
            raw=raw if outcome.raw else None,
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
        timing=timing,
        usage=usage,
        finish_reason=outcome.finish_reason,
        repairs=outcome.repairs,
    )
    return succeeded, texts
