"""The answer was read but is unusable, or a part around the call broke.

Here the class is close to the cause: whoever judged the answer saw it whole, and its words are the
evidence. The text itself is only referred to.
"""

from __future__ import annotations

from familiar.errors import FailureClass
from familiar.explain.cause import Cause
from familiar.explain.explanation import Evidence, Finding
from familiar.explain.rules.finding import LIKELY, SURE, found, saw
from familiar.explain.story import Attempt, Story

_DIRECT = {
    FailureClass.WIRE_MALFORMED: Cause.WIRE_MALFORMED,
    FailureClass.OUTPUT_INVALID: Cause.OUTPUT_INVALID,
    FailureClass.TOOL_FAILED: Cause.TOOL_FAILED,
    FailureClass.GUARD_BLOCKED: Cause.GUARD_BLOCKED,
    FailureClass.WORKSPACE_FAILED: Cause.WORKSPACE_FAILED,
    FailureClass.WORKBENCH_LOST: Cause.WORKBENCH_LOST,
    FailureClass.EVALUATOR_REJECTED: Cause.EVALUATOR_REJECTED,
    FailureClass.INTERNAL: Cause.INTERNAL,
}
_ABOUT_ANSWERS = frozenset({Cause.WIRE_MALFORMED, Cause.OUTPUT_INVALID, Cause.EVALUATOR_REJECTED})


def answered_wrongly(story: Story, attempt: Attempt) -> Finding | None:
    """Failure classes that name the defect of the answer."""
    failure = attempt.failure
    cause = None if failure is None else _DIRECT.get(failure.failure_class)
    if cause is None or attempt.ended is None:
        return None
    raw = attempt.ended.raw
    evidence: tuple[Evidence, ...] = ()
    if raw is not None:
        evidence = (
            saw(
                f"The answer has {raw.size} bytes, {attempt.tokens} tokens "
                f"(text {raw.sha256[:12]}).",
                attempt,
                tokens=attempt.tokens,
            ),
        )
    against = (Cause.BACKEND_UNREACHABLE, Cause.BACKEND_SLOW, Cause.QUEUE_TIMEOUT)
    return found(
        cause,
        SURE if raw is not None or cause not in _ABOUT_ANSWERS else LIKELY,
        story,
        attempt,
        *evidence,
        against=against if cause in _ABOUT_ANSWERS else (),
    )
