"""The backend was not there: never, not any more, now and then, or the connection broke.

The cases differ by the calls that the replica served before and after the failure, and by the
health check and the state of the node right after it.
"""

from __future__ import annotations

from familiar.errors import FailureClass
from familiar.explain.cause import Cause
from familiar.explain.exonerate import probe_ok
from familiar.explain.rules.finding import LIKELY, POSSIBLE, SURE, Reading
from familiar.explain.story import Attempt, Story

OVERLOADED = frozenset({408, 425, 429, 503, 529})
_NOT_LOST = (Cause.NODE_LOST, Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT)


def node_lost(story: Story, attempt: Attempt) -> Reading | None:
    """The machine below the replica does not answer, or Ray says that it is dead."""
    if attempt.text("node") != "gone":
        return None
    return Reading(
        Cause.NODE_LOST,
        SURE,
        f"Node {attempt.text('node_id')[:12]} of {attempt.replica} did not answer any more"
        f"{_why(attempt.text('node_reason'))}.",
        against=(Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT),
    )


def flapping(story: Story, attempt: Attempt) -> Reading | None:
    """At least two outages of one replica with a call served well between them."""
    if not _lost(attempt):
        return None
    outages, served = _outages(story, attempt)
    if len(outages) < 2:
        return None
    return Reading(
        Cause.BACKEND_FLAPPING,
        SURE,
        f"{attempt.replica} went away {len(outages)} times ({_names(outages)}) and served "
        f"{_names(served)} in between.",
        {"outages": len(outages), "served_between": len(served)},
        _ends(*outages, *served),
        against=_NOT_LOST,
    )


def died(story: Story, attempt: Attempt) -> Reading | None:
    """It served before, or was answering this very call, and was gone afterwards."""
    if not _lost(attempt) or probe_ok(attempt):
        return None
    before = story.served_by(attempt.replica, 0.0, attempt.ended_at)
    first = story.failures_on(attempt.replica)[:1]
    most = max([attempt.tokens, *(out.tokens for out in first)])
    gone = attempt.text("state") in {"dead", "starting", "backing_off", "unhealthy"}
    answering = attempt.evidence("process_died") is True
    if not (before or most or answering):
        return None
    said = []
    if before:
        said.append(f"served {_names(before)} before")
    if most:
        said.append(f"broke off after {most} tokens")
    return Reading(
        Cause.BACKEND_DIED,
        SURE if probe_ok(attempt) is False or answering or gone else LIKELY,
        f"{attempt.replica} {' and '.join(said) or 'had taken the call'}.",
        events=_ends(*before, *first),
        against=_NOT_LOST,
    )


def loading(story: Story, attempt: Attempt) -> Reading | None:
    """The server's own words say that it is not up yet."""
    if attempt.evidence("loading") is not True or not _lost(attempt):
        return None
    status = attempt.number("status")
    return Reading(
        Cause.BACKEND_LOADING,
        SURE,
        f"The server answered {status:.0f} because it was loading its model."
        if status
        else "The server said that it was loading its model.",
        against=(Cause.NODE_LOST, Cause.BACKEND_UNREACHABLE, Cause.BACKEND_OVERLOADED),
    )


def overloaded(story: Story, attempt: Attempt) -> Reading | None:
    """The server's own status says that it has too much to do."""
    status = attempt.number("status")
    if status is None or int(status) not in OVERLOADED or not _lost(attempt):
        return None  # a used-up quota is a 429, too, and no load that passes
    if attempt.evidence("loading") is True:
        return None
    return Reading(
        Cause.BACKEND_OVERLOADED,
        SURE,
        f"The server answered {status:.0f}.",
        {"status": int(status)},
        against=(Cause.NODE_LOST, Cause.BACKEND_UNREACHABLE),
    )


def cut(story: Story, attempt: Attempt) -> Reading | None:
    """The stream broke off, and the backend answered its health check afterwards."""
    if not _lost(attempt) or attempt.tokens < 1 or not probe_ok(attempt):
        return None
    return Reading(
        Cause.STREAM_CUT,
        SURE,
        f"The stream broke off after {attempt.tokens} tokens.",
        {"tokens": attempt.tokens},
        against=(Cause.BACKEND_UNREACHABLE, Cause.CALL_OVERSIZED, Cause.NODE_LOST),
    )


def unreachable(story: Story, attempt: Attempt) -> Reading | None:
    """No token and no answer: the finding when no finer rule fits."""
    if attempt.number("ready_slots") == 0:
        waited = attempt.number("waited_s") or 0.0
        says = f"For {waited:.1f} s no replica of pool {attempt.pool} was ready to take it."
        return Reading(Cause.BACKEND_UNREACHABLE, SURE, says)
    if not _lost(attempt):
        return None
    never = attempt.evidence("started") is False
    reason = attempt.text("reason")
    likelihood = LIKELY
    if never:
        says = f"No replica of pool {attempt.pool} could be started{_why(reason)}."
        likelihood = SURE
    elif attempt.tokens:
        says = f"{attempt.replica} broke off after {attempt.tokens} tokens."
    else:
        says = f"No token came from {attempt.replica}{_why(reason or attempt.text('error'))}."
    served = story.served_by(attempt.replica, 0.0, attempt.ended_at)
    if served or (probe_ok(attempt) and not never):
        likelihood = POSSIBLE
    return Reading(
        Cause.BACKEND_UNREACHABLE,
        likelihood,
        says,
        against=(Cause.NODE_LOST, Cause.CALL_OVERSIZED, Cause.BACKEND_STALLED),
    )


def _lost(attempt: Attempt) -> bool:
    """Whether it is recorded as gone, and did not simply run into its own deadline."""
    return (
        attempt.failed_as(FailureClass.BACKEND_UNREACHABLE)
        and attempt.text("start_class") != FailureClass.BACKEND_REFUSED.value
        and not attempt.at_deadline
    )


def _outages(story: Story, attempt: Attempt) -> tuple[list[Attempt], list[Attempt]]:
    """The first and the last outage of each life of the replica, and what it served between."""
    outages: list[Attempt] = []
    between: list[Attempt] = []
    for failed in story.failures_on(attempt.replica):
        if not _lost(failed) or probe_ok(failed):
            continue
        if not outages:
            outages.append(failed)
            continue
        served = story.served_by(attempt.replica, outages[-1].ended_at, failed.ended_at)
        if served:
            outages.append(failed)
            between.append(served[-1])
    return outages, between


def _names(attempts: list[Attempt]) -> str:
    return ", ".join(attempt.name for attempt in attempts)


def _ends(*attempts: Attempt) -> tuple[int, ...]:
    return tuple(sorted({attempt.ended_seq for attempt in attempts}))


def _why(reason: str) -> str:
    return f" ({reason.rstrip('.')})" if reason else ""
