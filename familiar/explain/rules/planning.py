"""Problems of plans: unreadable, not allowed, the same again, or one inside another.

A rejected plan carries its problems by code. Where the same problems come back turn after turn, the
orchestrator did not learn; where a plan equals one whose calls failed, it repeated itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from familiar.event import PlanAccepted, PlanRejected, Problem
from familiar.explain.cause import Cause
from familiar.explain.explanation import Evidence, Finding, RuledOut
from familiar.explain.rules.finding import LIKELY, SURE
from familiar.explain.story import PlanNote, Story
from familiar.plan.fingerprint import fingerprint

REPEATED = "plan_repeated"
_NESTED = ("nested", "lifted", "wire_in_tool_call")
_BY_CODE = {
    "oversized": Cause.CALL_OVERSIZED,
    "wire_truncated": Cause.CALL_TRUNCATED,
    "plan_malformed": Cause.WIRE_MALFORMED,
    "plan_too_large": Cause.WIRE_MALFORMED,
}
"""Codes of `familiar/plan/README.md` that stand for a cause of their own; the others are rules of
the lint, and a plan that breaks them is invalid."""


def rejected(story: Story) -> Iterator[Finding]:
    """One finding for each rejected plan, by the gravest of its problems."""
    accepted = {n.body.turn for n in story.plans if isinstance(n.body, PlanAccepted)}
    for note in story.plans:
        body = note.body
        if not isinstance(body, PlanRejected):
            continue
        told = " ".join(f"{p.code}: {p.message}" for p in body.problems[:4])
        says = f"Plan {body.attempt} of turn {body.turn} was rejected: {told}"
        yield Finding(
            _cause(body.problems),
            SURE,
            (Evidence(says, (note.seq,)),),
            _answered(story, note),
            call=f"plan-{body.turn}",
            attempt=body.attempt,
            decisive=body.turn not in accepted,
            lost_s=_spent(story, body),
        )


def repeated(story: Story) -> Iterator[Finding]:
    """Accepted plans with the calls of an earlier one, one of which had failed."""
    seen: dict[str, PlanNote] = {}
    for note in story.plans:
        if not isinstance(note.body, PlanAccepted) or not note.body.calls:
            continue
        first = seen.setdefault(fingerprint(note.body.calls), note)
        if first is note or not isinstance(first.body, PlanAccepted):
            continue
        failed = [
            attempt
            for call in first.body.calls
            for attempt in story.of_call.get(call.id, ())
            if attempt.failure is not None
        ]
        if failed:
            names = ", ".join(attempt.name for attempt in failed[:5])
            says = (
                f"Turn {note.body.turn} has the calls of turn {first.body.turn} again, where "
                f"{names} failed."
            )
            events = (first.seq, *(attempt.ended_seq for attempt in failed[:5]), note.seq)
            decisive = not any(story.recovered(attempt) for attempt in failed)
            evidence = (Evidence(says, events),)
            yield Finding(Cause.PLAN_REPEATED, LIKELY, evidence, decisive=decisive)


def nested(story: Story) -> Iterator[Finding]:
    """A planned call whose whole prompt is a plan document, or a repair that lifted one."""
    for note in story.plans:
        if not isinstance(note.body, PlanAccepted):
            continue
        for repair in note.body.repairs:
            if any(mark in repair.code for mark in _NESTED):
                yield _nested(story, note, f"{repair.code}: {repair.message}", repair.call)
        for call in note.body.calls:
            if _is_plan(call.prompt):
                says = (
                    f"The prompt of {call.id} is itself a plan of {len(call.prompt)} characters, "
                    "where a task should stand."
                )
                yield _nested(story, note, says, call.id)


def _nested(story: Story, note: PlanNote, says: str, call: str | None) -> Finding:
    failed = story.end is not None and story.end.outcome == "failed"
    evidence = (Evidence(says, (note.seq,)),)
    return Finding(Cause.WIRE_NESTED, SURE, evidence, call=call, decisive=failed)


def _cause(problems: tuple[Problem, ...]) -> Cause:
    codes = {problem.code for problem in problems}
    if any(mark in code for code in codes for mark in _NESTED):
        return Cause.WIRE_NESTED
    # A plan that was rejected before and still breaks a rule fails by the rule; but its ids are
    # taken only because it is the same plan.
    if REPEATED in codes and codes <= {REPEATED, "duplicate_id"}:
        return Cause.PLAN_REPEATED
    for code, cause in _BY_CODE.items():
        if code in codes:
            return cause
    if any(code.startswith("wire_") for code in codes):
        return Cause.WIRE_MALFORMED
    return Cause.PLAN_INVALID


def _answered(story: Story, note: PlanNote) -> tuple[RuledOut, ...]:
    """The orchestrator's backend did its part: the answer came, whole."""
    assert isinstance(note.body, PlanRejected)
    attempt = story.attempts.get((f"plan-{note.body.turn}", note.body.attempt))
    if attempt is None or not attempt.succeeded:
        return ()
    rate = "" if attempt.rate is None else f" at {attempt.rate:.1f} tokens/s"
    how = f"{attempt.replica} answered {attempt.name} with {attempt.tokens} tokens{rate}."
    return (RuledOut(Cause.BACKEND_UNREACHABLE, how, (attempt.ended_seq,)),)


def _spent(story: Story, body: PlanRejected) -> float:
    attempt = story.attempts.get((f"plan-{body.turn}", body.attempt))
    return 0.0 if attempt is None else max(attempt.ended_at - attempt.dispatched_at, 0.0)


def _is_plan(prompt: str) -> bool:
    text = prompt.strip()
    if not (text.startswith("{") and text.endswith("}") and '"worker_calls"' in text):
        return text.startswith("<familiar") and text.endswith(">")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and isinstance(data.get("worker_calls"), list)
