"""Explain a run from its events: the one entry of this package.

Linear in the number of events. A rule about an attempt looks at one failed attempt and the whole
history around it; a rule about the run looks at plans and ends. The likeliest finding about an
attempt is its diagnosis, also against the recorded class, and among equals the first in the table;
the others are kept as alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from familiar.event import Event
from familiar.explain.cause import Cause
from familiar.explain.explanation import Explanation, Finding, Outcome
from familiar.explain.rank import rank
from familiar.explain.rules import backend, ending, pace, planning, queueing, request
from familiar.explain.rules.finding import POSSIBLE, Reading, found
from familiar.explain.story import Attempt, Story, read_story

AttemptRule = Callable[[Story, Attempt], Reading | None]
RunRule = Callable[[Story], Iterable[Finding]]

ATTEMPT_RULES: tuple[AttemptRule, ...] = (
    backend.node_lost,
    request.model_unknown,
    request.key_rejected,
    request.rejected,
    request.context_overflow,
    request.truncated,
    queueing.queue_timeout,
    backend.loading,
    backend.overloaded,
    backend.flapping,
    backend.died,
    backend.cut,
    pace.stalled,
    pace.slow,
    pace.oversized,
    backend.unreachable,
    request.answered_wrongly,
)

RUN_RULES: tuple[RunRule, ...] = (
    ending.cancelled,
    ending.budget,
    planning.nested,
    planning.rejected,
    planning.repeated,
    queueing.queue_wait,
    ending.unmet,
)


def explain(events: Iterable[Event]) -> Explanation:
    """Why the run went as it did, or how it stands while it is open. Raises `ValueError` when there
    is no event."""
    return explain_story(read_story(events))


def explain_story(story: Story) -> Explanation:
    """The same for a history that is arranged already."""
    if not story.events:
        raise ValueError("there is no event to explain")
    chief: list[Finding] = []
    lesser: list[Finding] = []
    for attempt in story.failed_attempts:
        readings = diagnose(story, attempt)
        chief += readings[:1]
        lesser += readings[1:]
    for rule in RUN_RULES:
        chief += rule(story)
    outcome: Outcome = "running" if story.end is None else story.end.outcome
    return Explanation(
        run_id=story.run_id,
        outcome=outcome,
        symptom=_symptom(story, outcome),
        causes=rank(story, chief, lesser),
        events=story.events,
        seconds=round(story.seconds, 3),
    )


def diagnose(story: Story, attempt: Attempt) -> list[Finding]:
    """The findings about one failed attempt, the likeliest first."""
    readings = [reading for rule in ATTEMPT_RULES if (reading := rule(story, attempt)) is not None]
    if not readings:
        # No rule knows this: all there is is the class that was recorded.
        assert attempt.failure is not None
        readings = [Reading(Cause(attempt.failure.failure_class), POSSIBLE)]
    readings.sort(key=lambda reading: -reading.likelihood)
    return [found(story, attempt, reading) for reading in readings]


def _symptom(story: Story, outcome: Outcome) -> str:
    if story.end is not None and outcome != "succeeded":
        kind = f" ({story.end.failure_class})" if story.end.failure_class else ""
        return f"The run {outcome} after {story.seconds:.1f} s{kind}: {story.end.reason}"
    failed = len(story.failed_attempts)
    rejected = sum(1 for note in story.plans if note.body.type == "plan.rejected")
    trouble = f"{failed} attempts failed and {rejected} plans were rejected on the way"
    if story.end is not None:
        how = trouble if failed or rejected else "and nothing failed on the way"
        return f"The run succeeded after {story.seconds:.1f} s, {how}."
    open_attempts = [t.name for t in story.attempts.values() if t.dispatched and t.ended is None]
    doing = f"waiting for {', '.join(open_attempts[:5])}" if open_attempts else "between two calls"
    return f"The run is open for {story.seconds:.1f} s, {doing}; {trouble}."
