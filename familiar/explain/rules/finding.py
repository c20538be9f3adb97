"""How a rule about a failed try writes down what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from familiar.errors import FailureClass
from familiar.explain.alibi import ruled_out
from familiar.explain.cause import Cause
from familiar.explain.explanation import Evidence, Figure, Finding
from familiar.explain.story import Story, Try

SURE, LIKELY, POSSIBLE = 0.9, 0.6, 0.3
"""Every figure is there and agrees; some are missing; nothing speaks against it."""

_FITTING: Mapping[Cause, frozenset[FailureClass]] = {
    Cause.NODE_LOST: frozenset({FailureClass.BACKEND_UNREACHABLE, FailureClass.WORKBENCH_LOST}),
    Cause.BACKEND_FLAPPING: frozenset({FailureClass.BACKEND_UNREACHABLE}),
    Cause.BACKEND_DIED: frozenset({FailureClass.BACKEND_UNREACHABLE}),
    Cause.BACKEND_OVERLOADED: frozenset({FailureClass.BACKEND_UNREACHABLE}),
    Cause.STREAM_CUT: frozenset({FailureClass.BACKEND_UNREACHABLE}),
    Cause.MODEL_UNKNOWN: frozenset({FailureClass.BACKEND_REFUSED}),
    Cause.KEY_REFUSED: frozenset({FailureClass.BACKEND_REFUSED}),
    Cause.WIRE_NESTED: frozenset({FailureClass.WIRE_MALFORMED, FailureClass.OUTPUT_INVALID}),
}
"""Classes that a finer cause agrees with; any other cause agrees with the class of its own name."""


def found(
    cause: Cause,
    likelihood: float,
    story: Story,
    tried: Try,
    *evidence: Evidence,
    against: Iterable[Cause] = (),
    change: Iterable[str] = (),
) -> Finding:
    """A finding about `tried`. `against` are the causes whose alibis are looked for."""
    recovered = story.recovered(tried)
    return Finding(
        cause=cause,
        likelihood=likelihood,
        evidence=(_what_failed(tried), *evidence, *_recovery(tried)),
        ruled_out=ruled_out(story, tried, against),
        change=tuple(change),
        call=tried.call,
        attempt=tried.attempt,
        alias=tried.alias,
        pool=tried.pool,
        replica=tried.replica,
        lost_s=_lost(tried),
        decisive=not recovered,
        claimed=_contradicted(cause, tried),
    )


def saw(says: str, tried: Try, **figures: Figure | None) -> Evidence:
    """An observation in the try's terminal event."""
    kept = {name: figure for name, figure in figures.items() if figure is not None}
    return Evidence(says, (tried.ended_seq,), kept)


def probed(tried: Try) -> tuple[Evidence, ...]:
    """What the health check right after the failure said, and what the engine did meanwhile."""
    state = tried.text("probe")
    if not state:
        return ()
    why = tried.text("probe_reason")
    said = {
        "ok": f"{tried.replica} answered its health check right after the failure",
        "failed": f"{tried.replica} said after the failure that it cannot serve",
        "no answer": f"{tried.replica} gave no answer to a health check after the failure",
        "process gone": f"The process of {tried.replica} was gone after the failure",
    }.get(state, f"The health check of {tried.replica} after the failure: {state}")
    return (saw(said + (f": {why}" if why else "") + ".", tried, seconds=tried.number("probe_s")),)


def _what_failed(tried: Try) -> Evidence:
    failure = tried.failure
    assert failure is not None
    where = f" on {tried.replica}" if tried.replica else ""
    events = tuple(seq for seq in (tried.dispatched_seq, tried.ended_seq) if seq)
    return Evidence(
        f"{tried.name}{where} was recorded as {failure.failure_class}: {failure.message}", events
    )


def _recovery(tried: Try) -> tuple[Evidence, ...]:
    if tried.recovery is None:
        return ()
    reasons = "; ".join(tried.recovery.reasons)
    known: dict[str, Figure] = {
        name: value
        for name, value in tried.recovery.evidence.items()
        if isinstance(value, int | float | str)
    }
    says = f"Recovery chose {tried.recovery.action}: {reasons}"
    return (Evidence(says, (tried.recovery_seq,), known),)


def _lost(tried: Try) -> float:
    if tried.dispatched is None:
        return tried.number("waited_s") or 0.0
    return max(tried.ended_at - tried.dispatched_at, 0.0)


def _contradicted(cause: Cause, tried: Try) -> FailureClass | None:
    failure = tried.failure
    if failure is None or failure.failure_class.value == cause.value:
        return None
    if failure.failure_class in _FITTING.get(cause, frozenset()):
        return None
    return failure.failure_class
