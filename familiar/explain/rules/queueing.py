"""Waiting for a slot: too long for the deadline, or long enough to slow the run."""

from __future__ import annotations

from collections.abc import Iterator

from familiar.errors import FailureClass
from familiar.explain.cause import Cause
from familiar.explain.explanation import Evidence, Finding
from familiar.explain.rules.finding import LIKELY, SURE, Reading
from familiar.explain.story import Attempt, Story

NOTABLE_SHARE = 0.2
"""Waiting for slots counts as what slowed a run from this share of its time on."""


def queue_timeout(story: Story, attempt: Attempt) -> Reading | None:
    """The queue deadline ended it: the time that it waited, and the calls before it."""
    if not attempt.failed_as(FailureClass.QUEUE_TIMEOUT) or attempt.number("ready_slots") == 0:
        return None  # Where no replica was there, see `backend.unreachable`.
    waited, queued = attempt.number("waited_s"), attempt.number("queued")
    served = story.served_in(attempt.pool, attempt.ended_at - (waited or 0.0), attempt.ended_at)
    busy = Evidence(
        "The pool was working in the meantime: it finished "
        f"{', '.join(other.name for other in served)}.",
        tuple(other.ended_seq for other in served),
    )
    return Reading(
        Cause.QUEUE_TIMEOUT,
        SURE if served or (queued or 0) > 1 else LIKELY,
        f"It waited {waited or 0:.1f} s for a slot of pool {attempt.pool} and got none; "
        f"{queued or 0:.0f} calls were waiting.",
        {"waited_s": waited, "queued": queued},
        more=(busy,) if served else (),
        against=(Cause.BACKEND_UNREACHABLE, Cause.CALL_OVERSIZED),
    )


def queue_wait(story: Story) -> Iterator[Finding]:
    """The time that a run waited for slots, by pool."""
    by_pool: dict[str, list[Attempt]] = {}
    for attempt in story.attempts.values():
        if attempt.queue_s and attempt.pool:
            by_pool.setdefault(attempt.pool, []).append(attempt)
    for pool, attempts in by_pool.items():
        worst = max(attempts, key=lambda attempt: attempt.queue_s or 0.0)
        longest = worst.queue_s or 0.0
        # A wait that is longer than the run was measured by clocks that disagree.
        if not max(0.5, NOTABLE_SHARE * story.seconds) <= longest <= story.seconds:
            continue
        says = (
            f"{worst.name} waited {longest:.1f} s of the run's {story.seconds:.1f} s for a slot of "
            f"pool {pool}; {len(attempts)} attempts waited there."
        )
        figures = {"longest_wait_s": round(longest, 2), "attempts": len(attempts)}
        yield Finding(
            Cause.QUEUE_WAIT,
            LIKELY,
            (Evidence(says, (worst.dispatched_seq,), figures),),
            call=worst.call,
            attempt=worst.attempt,
            pool=pool,
            lost_s=longest,
        )
