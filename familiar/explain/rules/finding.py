"""From the reading that a rule makes of a failed attempt to the finding about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from familiar.errors import FailureClass
from familiar.explain.cause import Cause
from familiar.explain.exonerate import ruled_out
from familiar.explain.explanation import Evidence, Figure, Finding
from familiar.explain.story import Attempt, Story
from familiar.failure import FAILURES

SURE, LIKELY, POSSIBLE = 0.9, 0.6, 0.3
"""Every figure is there and agrees; some are missing; nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A cause that one rule sees in one failed attempt.

    `says` and `figures` (None where one is not known) are the observation; it stands in `events`,
    or else in the attempt's end. `more` are further ones. `against` are the causes to rule out.
    """

    cause: Cause
    likelihood: float
    says: str = ""
    figures: Mapping[str, Figure | None] = field(default_factory=dict)
    events: tuple[int, ...] = ()
    more: tuple[Evidence, ...] = ()
    against: tuple[Cause, ...] = ()
    change: tuple[str, ...] = ()


def found(story: Story, attempt: Attempt, reading: Reading) -> Finding:
    """The finding about `attempt`, with its record, its probe and its recovery as evidence."""
    waited = _waited(story, attempt)
    figures = {name: value for name, value in reading.figures.items() if value is not None}
    seen = Evidence(reading.says, reading.events or (attempt.ended_seq,), figures)
    return Finding(
        cause=reading.cause,
        likelihood=reading.likelihood,
        evidence=(
            _what_failed(attempt),
            *((seen,) if reading.says else ()),
            *reading.more,
            *_probed(attempt),
            *_recovery(attempt, waited),
        ),
        ruled_out=ruled_out(story, attempt, reading.against),
        change=reading.change,
        call=attempt.call,
        attempt=attempt.attempt,
        alias=attempt.alias,
        pool=attempt.pool,
        replica=attempt.replica,
        lost_s=_lost(attempt) + waited,
        decisive=not story.recovered(attempt),
        claimed=_contradicted(reading.cause, attempt),
    )


def _probed(attempt: Attempt) -> tuple[Evidence, ...]:
    """Result of the health check right after the failure, and its duration."""
    state = attempt.text("probe")
    if not state:
        return ()
    why, took = attempt.text("probe_reason"), attempt.number("probe_s")
    said = {
        "ok": f"{attempt.replica} answered its health check right after the failure",
        "failed": f"{attempt.replica} said after the failure that it cannot serve",
        "no answer": f"{attempt.replica} gave no answer to a health check after the failure",
        "process gone": f"The process of {attempt.replica} was gone after the failure",
    }.get(state, f"The health check of {attempt.replica} after the failure: {state}")
    figures: dict[str, Figure] = {} if took is None else {"seconds": took}
    return (Evidence(said + (f": {why}" if why else "") + ".", (attempt.ended_seq,), figures),)


def _what_failed(attempt: Attempt) -> Evidence:
    failure = attempt.failure
    assert failure is not None
    where = f" on {attempt.replica}" if attempt.replica else ""
    events = tuple(seq for seq in (attempt.dispatched_seq, attempt.ended_seq) if seq)
    return Evidence(
        f"{attempt.name}{where} was recorded as {failure.failure_class}: {failure.message}", events
    )


def _recovery(attempt: Attempt, waited: float) -> tuple[Evidence, ...]:
    if attempt.recovery is None:
        return ()
    reasons = "; ".join(attempt.recovery.reasons)
    known: dict[str, Figure] = {
        name: value
        for name, value in attempt.recovery.evidence.items()
        if isinstance(value, int | float | str)
    }
    says = f"Recovery chose {attempt.recovery.action}: {reasons}"
    if waited:
        asked = "" if attempt.number("retry_after_s") is None else ", as it asked"
        says += f"; waited {waited:.1f} s for the server{asked}"
        known["waited_s"] = round(waited, 3)
    return (Evidence(says, (attempt.recovery_seq,), known),)


def _waited(story: Story, attempt: Attempt) -> float:
    """Seconds for which the server was waited for before the next attempt."""
    wanted = None if attempt.recovery is None else attempt.recovery.wait_s
    later = story.attempts.get((attempt.call, attempt.attempt + 1))
    if not wanted or later is None or later.dispatched is None:
        return 0.0
    return min(max(later.dispatched.queued_at - attempt.ended_at, 0.0), wanted)


def _lost(attempt: Attempt) -> float:
    if attempt.dispatched is None:
        return attempt.number("waited_s") or 0.0
    return max(attempt.ended_at - attempt.dispatched_at, 0.0)


def _contradicted(cause: Cause, attempt: Attempt) -> FailureClass | None:
    failure = attempt.failure
    if failure is None or failure.failure_class.value == cause.value:
        return None
    return None if cause in FAILURES[failure.failure_class].finer else failure.failure_class
