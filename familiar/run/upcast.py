"""Histories of earlier versions, read as ones of this version.

An earlier version kept the limits of a run in the configuration only. An open history of it gets
one `run.limits` before any other event, from the configuration of the first start of a version that
records them. The limits hold from the first event on, so they are put there when a history is read.
Stored rows are never rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from familiar.event import Event, RunEnded, RunLimitsNoted, RunSubmitted
from familiar.limits import RunLimits


def recorded_limits(history: Sequence[Event]) -> RunLimits | None:
    """The limits that `history` says: those of its first event, else of its first `run.limits`."""
    for event in history:
        if isinstance(event.body, RunSubmitted | RunLimitsNoted) and event.body.limits:
            return event.body.limits
    return None


def limits_to_note(history: Sequence[Event], current: RunLimits) -> RunLimitsNoted | None:
    """The event that `history` needs before any other; None where nothing is missing."""
    if not history or recorded_limits(history) is not None:
        return None
    over = any(isinstance(event.body, RunEnded) for event in history)
    return None if over else RunLimitsNoted(limits=current)


def upcast(history: Sequence[Event], fallback: RunLimits) -> Iterator[Event]:
    """`history` with limits in its first event: the recorded ones, else `fallback`."""
    for event in history:
        body = event.body
        if isinstance(body, RunSubmitted) and body.limits is None:
            limits = recorded_limits(history) or fallback
            yield replace(event, body=body.model_copy(update={"limits": limits}))
        else:
            yield event
