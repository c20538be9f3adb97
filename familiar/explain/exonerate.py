"""Evidence against a cause: figures of the failed attempt, the probe after it, other attempts.

Each function answers for one suspected cause and gives None where the events do not say, because
"not ruled out" and "ruled out" must never look the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from familiar.explain.cause import Cause
from familiar.explain.explanation import RuledOut
from familiar.explain.story import Attempt, Story

USUAL_SHARE = 0.5
"""From this share of the usual rate on, a backend counts as decoding at its usual rate."""
SHORT_WAIT_S = 0.5
SHORT_WAIT_SHARE = 0.25
Against = tuple[str, tuple[int, ...]] | None
"""The evidence in one sentence, and the events that hold it."""


def ruled_out(story: Story, attempt: Attempt, causes: Iterable[Cause]) -> tuple[RuledOut, ...]:
    """Those of `causes` that the events rule out, each with the evidence."""
    found = ((cause, _RULED_OUT[cause](story, attempt)) for cause in causes if cause in _RULED_OUT)
    return tuple(RuledOut(cause, *against) for cause, against in found if against is not None)


def was_flowing(attempt: Attempt) -> bool:
    """Whether tokens still came when the attempt ended: the time since the last token is at most
    ten usual gaps, or a tenth of the attempt."""
    rate, silent = attempt.rate, attempt.number("silent_s")
    if rate is None or rate <= 0 or attempt.first_token_s is None:
        return False
    if silent is None:
        timing = None if attempt.ended is None else attempt.ended.timing
        return timing is not None and timing.longest_gap_s < 0.5 * attempt.seconds
    return silent <= max(10.0 / rate, 0.1 * attempt.seconds)


def probe_ok(attempt: Attempt) -> bool | None:
    """Result of the health check right after the failure; None when there was none."""
    state = attempt.text("probe")
    return None if not state else state == "ok"


def _alive(story: Story, attempt: Attempt) -> Against:
    said: list[str] = []
    if probe_ok(attempt):
        said.append(f"{attempt.replica} answered its health check right after the failure")
    if was_flowing(attempt):
        silent = attempt.number("silent_s")
        last = "" if silent is None else f", the last {silent:.2f} s before the end"
        said.append(f"{attempt.tokens} tokens came from it{last}")
    others = story.served_by(attempt.replica, attempt.ended_at - attempt.seconds, story.end_at)
    if others:
        names = ", ".join(other.name for other in others)
        said.append(f"it finished {names} during the attempt or later")
    events = {attempt.ended_seq, *(other.ended_seq for other in others)}
    return ("; ".join(said) + ".", tuple(sorted(events))) if said else None


def _usual(story: Story, attempt: Attempt) -> Against:
    usual, rate = story.usual_rate(attempt), attempt.rate
    if usual is None or rate is None or rate < USUAL_SHARE * usual[0]:
        return None
    how = f"It decoded at {rate:.1f} tokens/s; {usual[0]:.1f} is usual ({usual[1]})."
    return how, (attempt.ended_seq,)


def _flowing(story: Story, attempt: Attempt) -> Against:
    if not was_flowing(attempt):
        return None
    gap = attempt.number("longest_gap_s") or 0.0
    how = f"{attempt.tokens} tokens came without a pause longer than {gap:.2f} s."
    return how, (attempt.ended_seq,)


def _no_queue(story: Story, attempt: Attempt) -> Against:
    waited, queued = attempt.queue_s, attempt.number("queued")
    if waited is None or waited > max(SHORT_WAIT_S, SHORT_WAIT_SHARE * attempt.seconds):
        return None
    behind = "" if queued is None else f", and {queued:.0f} calls waited for the pool at its end"
    if queued == 0:
        behind = ", and the queue was empty at its end"
    how = f"It waited {waited:.2f} s for its slot{behind}."
    return how, (attempt.dispatched_seq, attempt.ended_seq)


def _small(story: Story, attempt: Attempt) -> Against:
    """Against oversized: the deadline was far away."""
    limit = attempt.number("deadline_s")
    if limit is None or not 0 < attempt.seconds < 0.9 * limit:
        return None
    how = f"It ended after {attempt.seconds:.1f} of the {limit:g} s of its deadline."
    return how, (attempt.ended_seq,)


def _node_alive(story: Story, attempt: Attempt) -> Against:
    if attempt.text("node") != "alive":
        return None
    return "The node that holds the replica answered.", (attempt.ended_seq,)


_RULED_OUT: dict[Cause, Callable[[Story, Attempt], Against]] = {
    Cause.BACKEND_UNREACHABLE: _alive,
    Cause.BACKEND_SLOW: _usual,
    Cause.BACKEND_STALLED: _flowing,
    Cause.QUEUE_TIMEOUT: _no_queue,
    Cause.CALL_OVERSIZED: _small,
    Cause.NODE_LOST: _node_alive,
}
