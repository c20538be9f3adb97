"""The backend was not there: never, not any more, now and then, or the line to it broke.

What tells them apart is what the replica did before (did it serve?), after (did it come back?), and
what the health check and the node said right after the failure.
"""

from __future__ import annotations

from familiar.errors import FailureClass
from familiar.explain.alibi import probe_ok
from familiar.explain.cause import Cause
from familiar.explain.explanation import Evidence, Finding
from familiar.explain.rules.finding import LIKELY, POSSIBLE, SURE, found, probed, saw
from familiar.explain.story import Story, Try

OVERLOADED = frozenset({408, 425, 429, 503, 529})


def node_lost(story: Story, tried: Try) -> Finding | None:
    """The machine below the replica does not answer, or Ray says that it is dead."""
    if tried.text("node") != "gone":
        return None
    return found(
        Cause.NODE_LOST,
        SURE,
        story,
        tried,
        saw(
            f"Node {tried.text('node_id')[:12]} of {tried.replica} did not answer any more"
            f"{_why(tried.text('node_reason'))}.",
            tried,
        ),
        *probed(tried),
        against=(Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT),
    )


def flapping(story: Story, tried: Try) -> Finding | None:
    """At least two outages of one replica with a call served well between them."""
    if not _lost(tried):
        return None
    outages, served = _outages(story, tried)
    if len(outages) < 2:
        return None
    events = tuple(sorted({*(out.ended_seq for out in outages), *(s.ended_seq for s in served)}))
    return found(
        Cause.BACKEND_FLAPPING,
        SURE,
        story,
        tried,
        Evidence(
            f"{tried.replica} went away {len(outages)} times ("
            f"{', '.join(out.name for out in outages)}) and served "
            f"{', '.join(s.name for s in served)} in between.",
            events,
            {"outages": len(outages), "served_between": len(served)},
        ),
        *probed(tried),
        against=(Cause.NODE_LOST, Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT),
    )


def died(story: Story, tried: Try) -> Finding | None:
    """It served before, or was answering this very call, and was gone afterwards."""
    if not _lost(tried) or probe_ok(tried):
        return None
    before = story.served_by(tried.replica, 0.0, tried.ended_at)
    first = story.failures_on(tried.replica)[:1]
    began = tried.tokens > 0 or any(out.tokens > 0 for out in first)
    gone = tried.text("state") in {"dead", "starting", "backing_off", "unhealthy"}
    answering = tried.evidence("process_died") is True
    if not (before or began or answering):
        return None
    said = []
    if before:
        said.append(f"served {', '.join(other.name for other in before)} before")
    if began:
        most = max([tried.tokens, *(out.tokens for out in first)])
        said.append(f"broke off after {most} tokens")
    if not said:
        said.append("had taken the call")
    events = (*(other.ended_seq for other in before), *(o.ended_seq for o in first))
    likelihood = SURE if probe_ok(tried) is False or answering or gone else LIKELY
    return found(
        Cause.BACKEND_DIED,
        likelihood,
        story,
        tried,
        Evidence(f"{tried.replica} {' and '.join(said)}.", tuple(sorted({*events})), {}),
        *probed(tried),
        against=(Cause.NODE_LOST, Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT),
    )


def overloaded(story: Story, tried: Try) -> Finding | None:
    """The server's own status says that it has too much to do."""
    status = tried.number("status")
    if status is None or int(status) not in OVERLOADED:
        return None
    return found(
        Cause.BACKEND_OVERLOADED,
        SURE,
        story,
        tried,
        saw(f"The server answered {status:.0f}.", tried, status=int(status)),
        *probed(tried),
        against=(Cause.NODE_LOST, Cause.BACKEND_UNREACHABLE),
    )


def cut(story: Story, tried: Try) -> Finding | None:
    """The stream broke off, and the backend answered its health check afterwards."""
    if not _lost(tried) or tried.tokens < 1 or not probe_ok(tried):
        return None
    return found(
        Cause.STREAM_CUT,
        SURE,
        story,
        tried,
        saw(f"The stream broke off after {tried.tokens} tokens.", tried, tokens=tried.tokens),
        *probed(tried),
        against=(Cause.BACKEND_UNREACHABLE, Cause.CALL_OVERSIZED, Cause.NODE_LOST),
    )


def unreachable(story: Story, tried: Try) -> Finding | None:
    """Nothing came and nobody answered: the last word when nothing finer can be said."""
    if tried.number("ready_slots") == 0:
        waited = tried.number("waited_s") or 0.0
        says = f"For {waited:.1f} s no replica of pool {tried.pool} was ready to take it."
        return found(Cause.BACKEND_UNREACHABLE, SURE, story, tried, saw(says, tried))
    if not _lost(tried):
        return None
    never = tried.evidence("started") is False
    reason = tried.text("reason")
    says = (
        f"No replica of pool {tried.pool} could be started{_why(reason)}."
        if never
        else f"Not one token came from {tried.replica}{_why(reason or tried.text('error'))}."
    )
    if tried.tokens and not never:
        says = f"{tried.replica} broke off after {tried.tokens} tokens."
    likelihood = SURE if never else LIKELY if not probe_ok(tried) else POSSIBLE
    served = story.served_by(tried.replica, 0.0, tried.ended_at)
    if served:
        likelihood = POSSIBLE
    return found(
        Cause.BACKEND_UNREACHABLE,
        likelihood,
        story,
        tried,
        saw(says, tried),
        *probed(tried),
        against=(Cause.NODE_LOST, Cause.CALL_OVERSIZED, Cause.BACKEND_STALLED),
    )


def _lost(tried: Try) -> bool:
    """Whether it is recorded as gone, and did not simply run into its own deadline."""
    failure = tried.failure
    return (
        failure is not None
        and failure.failure_class is FailureClass.BACKEND_UNREACHABLE
        and tried.text("start_class") != FailureClass.BACKEND_REFUSED.value
        and not tried.at_deadline
    )


def _outages(story: Story, tried: Try) -> tuple[list[Try], list[Try]]:
    """The first and the last outage of each life of the replica, and what it served between."""
    outages: list[Try] = []
    between: list[Try] = []
    for failed in story.failures_on(tried.replica):
        if not _lost(failed) or probe_ok(failed):
            continue
        if not outages:
            outages.append(failed)
            continue
        served = story.served_by(tried.replica, outages[-1].ended_at, failed.ended_at)
        if served:
            outages.append(failed)
            between.append(served[-1])
    return outages, between


def _why(reason: str) -> str:
    return f" ({reason.rstrip('.')})" if reason else ""
