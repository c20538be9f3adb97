"""Explain a run from its events: the one entry of this package.

Linear in the number of events. Every failed try is put to every rule about tries; the likeliest
finding is its diagnosis, whatever class was recorded, and the others are kept as lesser readings.
"""

from __future__ import annotations

from collections.abc import Iterable

from familiar.event import Event
from familiar.explain.cause import Cause
from familiar.explain.explanation import Explanation, Finding, Outcome
from familiar.explain.rank import rank
from familiar.explain.rules.finding import POSSIBLE, found
from familiar.explain.rules.table import RUN_RULES, TRY_RULES
from familiar.explain.story import Story, Try, read_story


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
    for tried in story.failed_tries:
        readings = diagnose(story, tried)
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


def diagnose(story: Story, tried: Try) -> list[Finding]:
    """What one failed try looks like, the likeliest first."""
    readings = [finding for rule in TRY_RULES if (finding := rule(story, tried)) is not None]
    readings.sort(key=lambda finding: -finding.likelihood)
    return readings or [_by_class(story, tried)]


def _by_class(story: Story, tried: Try) -> Finding:
    """No rule knows this: all there is is the class that was recorded."""
    assert tried.failure is not None
    known = {cause.value for cause in Cause}
    name = tried.failure.failure_class.value
    return found(Cause(name) if name in known else Cause.INTERNAL, POSSIBLE, story, tried)


def _symptom(story: Story, outcome: Outcome) -> str:
    if story.end is not None and outcome != "succeeded":
        kind = f" ({story.end.failure_class})" if story.end.failure_class else ""
        return f"The run {outcome} after {story.seconds:.1f} s{kind}: {story.end.reason}"
    failed = len(story.failed_tries)
    rejected = sum(1 for note in story.plans if note.body.type == "plan.rejected")
    trouble = f"{failed} tries failed and {rejected} plans were refused on the way"
    if story.end is not None:
        how = trouble if failed or rejected else "and nothing failed on the way"
        return f"The run succeeded after {story.seconds:.1f} s, {how}."
    open_tries = [t.name for t in story.tries.values() if t.dispatched and t.ended is None]
    doing = f"waiting for {', '.join(open_tries[:5])}" if open_tries else "between two calls"
    return f"The run is open for {story.seconds:.1f} s, {doing}; {trouble}."
