"""The answer was read but is unusable, or a part around the call broke.

Here the class is close to the cause: the judge of the answer saw it whole, and its words are the
evidence. The text itself is only referred to.
"""

from __future__ import annotations

from familiar.explain.cause import Cause
from familiar.explain.explanation import Evidence, Finding
from familiar.explain.rules.finding import LIKELY, SURE, found, saw
from familiar.explain.story import Attempt, Story
from familiar.failure import FAILURES

_ABOUT_ANSWERS = frozenset({Cause.WIRE_MALFORMED, Cause.OUTPUT_INVALID, Cause.EVALUATOR_REJECTED})


def answered_wrongly(story: Story, attempt: Attempt) -> Finding | None:
    """Failure classes that name the defect of the answer."""
    failure = attempt.failure
    if failure is None or attempt.ended is None or not FAILURES[failure.failure_class].direct:
        return None
    cause = Cause(failure.failure_class)
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
