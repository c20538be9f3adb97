"""Evidence against a cause: figures of the failed attempt, the probe after it, other attempts.

Each function answers for one suspected cause and gives None where the events do not say, because
"not ruled out" and "ruled out" must never look the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from familiar.explain.cause import Cause
from familiar.explain.explanation import RuledOut
from familiar.explain.story import Attempt, Story

USUAL_SHARE = 0.5
"""From this share of the usual rate on, a backend counts as decoding at its usual rate."""
SHORT_WAIT_S = 0.5
SHORT_WAIT_SHARE = 0.25


def ruled_out(story: Story, attempt: Attempt, causes: Iterable[Cause]) -> tuple[RuledOut, ...]:
    """Those of `causes` that the events rule out, each with the evidence."""
    found = (_RULED_OUT[cause](story, attempt) for cause in causes if cause in _RULED_OUT)
    return tuple(one for one in found if one is not None)


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


def _alive(story: Story, attempt: Attempt) -> RuledOut | None:
    said: list[str] = []
    events = [attempt.ended_seq]
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
        events += [other.ended_seq for other in others]
    if not said:
        return None
    return RuledOut(Cause.BACKEND_UNREACHABLE, "; ".join(said) + ".", tuple(sorted(set(events))))


def _usual(story: Story, attempt: Attempt) -> RuledOut | None:
    usual, rate = story.usual_rate(attempt), attempt.rate
    if usual is None or rate is None or rate < USUAL_SHARE * usual[0]:
        return None
    return RuledOut(
        Cause.BACKEND_SLOW,
        f"It decoded at {rate:.1f} tokens/s; {usual[0]:.1f} is usual ({usual[1]}).",
        (attempt.ended_seq,),
    )


def _flowing(story: Story, attempt: Attempt) -> RuledOut | None:
    if not was_flowing(attempt):
        return None
    gap = attempt.number("longest_gap_s") or 0.0
    return RuledOut(
        Cause.BACKEND_STALLED,
        f"{attempt.tokens} tokens came without a pause longer than {gap:.2f} s.",
        (attempt.ended_seq,),
    )


def _no_queue(story: Story, attempt: Attempt) -> RuledOut | None:
    waited, queued = attempt.queue_s, attempt.number("queued")
    if waited is None or waited > max(SHORT_WAIT_S, SHORT_WAIT_SHARE * attempt.seconds):
        return None
    behind = "" if queued is None else f", and {queued:.0f} calls waited for the pool at its end"
    if queued == 0:
        behind = ", and the queue was empty at its end"
    return RuledOut(
        Cause.QUEUE_TIMEOUT,
        f"It waited {waited:.2f} s for its slot{behind}.",
        (attempt.dispatched_seq, attempt.ended_seq),
    )


def _small(story: Story, attempt: Attempt) -> RuledOut | None:
    """Against oversized: the deadline was far away, or the tokens did not flow."""
    limit = attempt.number("deadline_s")
    if limit is None or not 0 < attempt.seconds < 0.9 * limit:
        return None
    return RuledOut(
        Cause.CALL_OVERSIZED,
        f"It ended after {attempt.seconds:.1f} of the {limit:g} s of its deadline.",
        (attempt.ended_seq,),
    )


def _node_alive(story: Story, attempt: Attempt) -> RuledOut | None:
    if attempt.text("node") != "alive":
        return None
    return RuledOut(
        Cause.NODE_LOST, "The node that holds the replica answered.", (attempt.ended_seq,)
    )


def _room(story: Story, attempt: Attempt) -> RuledOut | None:
    """Against overflow: the prompt was taken, the model began to answer."""
    if attempt.tokens < 1:
        return None
    prompt = 0 if attempt.ended is None else attempt.ended.usage.prompt_tokens
    size = f" of {prompt} tokens" if prompt else ""
    return RuledOut(
        Cause.CONTEXT_OVERFLOW,
        f"The backend accepted the prompt{size} and the model answered.",
        (attempt.ended_seq,),
    )


_RULED_OUT = {
    Cause.BACKEND_UNREACHABLE: _alive,
    Cause.BACKEND_SLOW: _usual,
    Cause.BACKEND_STALLED: _flowing,
    Cause.QUEUE_TIMEOUT: _no_queue,
    Cause.CALL_OVERSIZED: _small,
    Cause.NODE_LOST: _node_alive,
    Cause.CONTEXT_OVERFLOW: _room,
}
