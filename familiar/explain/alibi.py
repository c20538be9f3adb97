"""What speaks against a cause: the failed try's figures, the probe after it, other tries beside it.

Each function answers for one suspected cause and gives None where the events do not say, because
"not ruled out" and "ruled out" must never look the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from familiar.explain.cause import Cause
from familiar.explain.explanation import RuledOut
from familiar.explain.story import Story, Try

USUAL_SHARE = 0.5
"""From this share of the usual rate on, a backend counts as decoding at its usual rate."""
SHORT_WAIT_S = 0.5
SHORT_WAIT_SHARE = 0.25


def ruled_out(story: Story, tried: Try, causes: Iterable[Cause]) -> tuple[RuledOut, ...]:
    """The alibis of `causes` that the events can give."""
    found = (_ALIBIS[cause](story, tried) for cause in causes if cause in _ALIBIS)
    return tuple(alibi for alibi in found if alibi is not None)


def was_flowing(tried: Try) -> bool:
    """Whether tokens still came when the try ended: the last silence is no longer than ten usual
    gaps, or a tenth of the try."""
    rate, silent = tried.rate, tried.number("silent_s")
    if rate is None or rate <= 0 or tried.first_token_s is None:
        return False
    if silent is None:
        timing = None if tried.ended is None else tried.ended.timing
        return timing is not None and timing.longest_gap_s < 0.5 * tried.seconds
    return silent <= max(10.0 / rate, 0.1 * tried.seconds)


def probe_ok(tried: Try) -> bool | None:
    """What the health check right after the failure said; None when there was none."""
    state = tried.text("probe")
    return None if not state else state == "ok"


def _alive(story: Story, tried: Try) -> RuledOut | None:
    said: list[str] = []
    events = [tried.ended_seq]
    if probe_ok(tried):
        said.append(f"{tried.replica} answered its health check right after the failure")
    if was_flowing(tried):
        silent = tried.number("silent_s")
        last = "" if silent is None else f", the last {silent:.2f} s before the end"
        said.append(f"{tried.tokens} tokens came from it{last}")
    others = story.served_by(tried.replica, tried.ended_at - tried.seconds, story.end_at)
    if others:
        names = ", ".join(other.name for other in others)
        said.append(f"it finished {names} well during the try or later")
        events += [other.ended_seq for other in others]
    if not said:
        return None
    return RuledOut(Cause.BACKEND_UNREACHABLE, "; ".join(said) + ".", tuple(sorted(set(events))))


def _usual(story: Story, tried: Try) -> RuledOut | None:
    usual, rate = story.usual_rate(tried), tried.rate
    if usual is None or rate is None or rate < USUAL_SHARE * usual[0]:
        return None
    return RuledOut(
        Cause.BACKEND_SLOW,
        f"It decoded at {rate:.1f} tokens/s; {usual[0]:.1f} is usual ({usual[1]}).",
        (tried.ended_seq,),
    )


def _flowing(story: Story, tried: Try) -> RuledOut | None:
    if not was_flowing(tried):
        return None
    gap = tried.number("longest_gap_s") or 0.0
    return RuledOut(
        Cause.BACKEND_STALLED,
        f"Tokens came without a stop: {tried.tokens} of them, never more than {gap:.2f} s apart.",
        (tried.ended_seq,),
    )


def _no_queue(story: Story, tried: Try) -> RuledOut | None:
    waited, queued = tried.queue_s, tried.number("queued")
    if waited is None or waited > max(SHORT_WAIT_S, SHORT_WAIT_SHARE * tried.seconds):
        return None
    behind = "" if queued is None else f", and {queued:.0f} calls waited for the pool at its end"
    if queued == 0:
        behind = ", and the queue was empty at its end"
    return RuledOut(
        Cause.QUEUE_TIMEOUT,
        f"It waited {waited:.2f} s for its slot{behind}.",
        (tried.dispatched_seq, tried.ended_seq),
    )


def _small(story: Story, tried: Try) -> RuledOut | None:
    """Against oversized: the deadline was far away, or the tokens did not flow."""
    limit = tried.number("deadline_s")
    if limit is None or not 0 < tried.seconds < 0.9 * limit:
        return None
    return RuledOut(
        Cause.CALL_OVERSIZED,
        f"It ended after {tried.seconds:.1f} of the {limit:g} s that it may take.",
        (tried.ended_seq,),
    )


def _node_alive(story: Story, tried: Try) -> RuledOut | None:
    if tried.text("node") != "alive":
        return None
    return RuledOut(
        Cause.NODE_LOST, "The node that holds the replica answered.", (tried.ended_seq,)
    )


def _room(story: Story, tried: Try) -> RuledOut | None:
    """Against overflow: the prompt was taken, the model began to answer."""
    if tried.tokens < 1:
        return None
    prompt = 0 if tried.ended is None else tried.ended.usage.prompt_tokens
    size = f" of {prompt} tokens" if prompt else ""
    return RuledOut(
        Cause.CONTEXT_OVERFLOW,
        f"The prompt{size} was taken: the model answered.",
        (tried.ended_seq,),
    )


_ALIBIS = {
    Cause.BACKEND_UNREACHABLE: _alive,
    Cause.BACKEND_SLOW: _usual,
    Cause.BACKEND_STALLED: _flowing,
    Cause.QUEUE_TIMEOUT: _no_queue,
    Cause.CALL_OVERSIZED: _small,
    Cause.NODE_LOST: _node_alive,
    Cause.CONTEXT_OVERFLOW: _room,
}
