"""How tokens came: the backend fell silent, was slow, or the call was larger than its deadline.

All three end in a deadline, so the class that a deadline gave is only a claim. What decides is when
the last token came, at which rate, and what is usual there.
"""

from __future__ import annotations

from familiar.explain.alibi import USUAL_SHARE, probe_ok, was_flowing
from familiar.explain.cause import Cause
from familiar.explain.explanation import Finding
from familiar.explain.rules.finding import LIKELY, POSSIBLE, SURE, found, probed, saw
from familiar.explain.story import Story, Try

FAR_BELOW = 0.25
"""A share of the usual rate that no load explains; between it and USUAL_SHARE it may be load."""
RATE_WINDOW_S = 5.0
"""What `engine_tokens_per_s` looks back over."""
TIMED = frozenset({"backend_slow", "backend_stalled", "call_oversized", "backend_unreachable"})


def stalled(story: Story, tried: Try) -> Finding | None:
    """Silence: at least half of the stall limit, or of the try, after the last token."""
    if not _struck(tried):
        return None
    silent, stall = tried.number("silent_s"), tried.number("stall_limit_s")
    deadline = tried.text("deadline")
    if tried.first_token_s is None:
        if _others_flowed(story, tried):
            return None
        says = f"No token came in {tried.seconds:.1f} s, and nothing else was produced there."
    elif deadline == "stall" or (silent is not None and _long_silence(silent, stall, tried)):
        says = f"It wrote {tried.tokens} tokens and was then silent for {silent or 0:.1f} s."
    else:
        return None
    usual = story.usual_rate(tried)
    likelihood = SURE if silent is not None and (probe_ok(tried) is not None or stall) else LIKELY
    return found(
        Cause.BACKEND_STALLED,
        likelihood,
        story,
        tried,
        saw(
            says,
            tried,
            tokens=tried.tokens,
            silent_s=silent,
            stall_limit_s=stall,
            usual_tokens_per_s=None if usual is None else round(usual[0], 2),
        ),
        *probed(tried),
        against=(Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT, Cause.NODE_LOST),
    )


def slow(story: Story, tried: Try) -> Finding | None:
    """Tokens came, but far below the usual rate, or the first one came very late."""
    if not _struck(tried):
        return None
    rate, usual, limit = tried.rate, story.usual_rate(tried), tried.number("deadline_s")
    first = tried.first_token_s
    if first is None:
        if not _others_flowed(story, tried):
            return None
        others = tried.number("engine_tokens_per_s") or 0.0
        says = f"No token came in {tried.seconds:.1f} s; others got {others:.1f} tokens/s there."
        likelihood = LIKELY
    elif rate is not None and usual is not None and rate < USUAL_SHARE * usual[0]:
        if not was_flowing(tried) and rate * (tried.number("silent_s") or 0.0) > 5:
            return None
        likelihood = SURE if rate < FAR_BELOW * usual[0] else LIKELY
        says = (
            f"It decoded at {rate:.1f} tokens/s, {rate / usual[0]:.0%} of the {usual[0]:.1f} that "
            f"is usual ({usual[1]})."
        )
    elif limit is not None and first > limit / 2 and tried.seconds >= 0.9 * limit:
        says, likelihood = f"Its first token took {first:.1f} of {limit:g} s.", LIKELY
    elif rate is not None and usual is None and tried.text("deadline") == "total" and rate < 1.0:
        says, likelihood = f"It decoded at {rate:.2f} tokens/s; what is usual is not known.", LIKELY
    else:
        return None
    return found(
        Cause.BACKEND_SLOW,
        likelihood,
        story,
        tried,
        saw(
            says,
            tried,
            tokens=tried.tokens,
            tokens_per_s=None if rate is None else round(rate, 2),
            usual_tokens_per_s=None if usual is None else round(usual[0], 2),
            first_token_s=first,
        ),
        *probed(tried),
        against=(Cause.BACKEND_UNREACHABLE, Cause.BACKEND_STALLED, Cause.QUEUE_TIMEOUT),
    )


def oversized(story: Story, tried: Try) -> Finding | None:
    """Tokens flowed at the usual rate until the deadline, or past the largest file allowed."""
    most = tried.number("max_bytes")
    if most is not None:
        size = tried.number("bytes") or most
        return found(
            Cause.CALL_OVERSIZED,
            SURE,
            story,
            tried,
            saw(f"It wrote {size:.0f} bytes where {most:.0f} are allowed.", tried, bytes=size),
            against=(Cause.BACKEND_UNREACHABLE,),
            change=("Ask for less in one file, or raise workspace.max_file_mib.",),
        )
    if not _struck(tried) or not was_flowing(tried):
        return None
    rate, usual, limit = tried.rate, story.usual_rate(tried), tried.number("deadline_s")
    assert rate is not None
    if tried.text("deadline") not in ("", "total"):
        return None
    if limit is not None and tried.seconds < 0.9 * limit:
        return None
    if usual is not None and rate < FAR_BELOW * usual[0]:
        return None
    at_rate = usual is not None and rate >= USUAL_SHARE * usual[0]
    likelihood = SURE if at_rate or probe_ok(tried) else LIKELY
    if usual is not None and not at_rate:
        likelihood = POSSIBLE
    deadline, alias = limit or tried.seconds, tried.alias or "ALIAS"
    first = tried.first_token_s or 0.0
    fits = rate * max(deadline - first, 0.0)
    return found(
        Cause.CALL_OVERSIZED,
        likelihood,
        story,
        tried,
        saw(
            f"It was still writing at {rate:.1f} tokens/s when its {deadline:g} s were over: "
            f"{tried.tokens} tokens so far, and no end.",
            tried,
            tokens=tried.tokens,
            tokens_per_s=round(rate, 2),
            deadline_s=deadline,
        ),
        saw(
            f"What fits: ({deadline:g} s - {first:.2f} s to the first token) x {rate:.1f} tokens/s "
            f"= {fits:.0f} tokens{_asked(tried, rate, first)}{_expected(tried)}.",
            tried,
            fits_tokens=round(fits),
            max_tokens=tried.number("max_tokens"),
        ),
        *probed(tried),
        against=(
            Cause.BACKEND_UNREACHABLE,
            Cause.BACKEND_SLOW,
            Cause.BACKEND_STALLED,
            Cause.QUEUE_TIMEOUT,
        ),
        change=(_smaller(alias, fits), f"Or raise aliases.{alias}.deadline_s, {deadline:g} now."),
    )


def _expected(tried: Try) -> str:
    """The estimate that recovery made from what the call was asked."""
    expected = None if tried.recovery is None else tried.recovery.evidence.get("tokens_expected")
    return f"; about {expected} tokens are expected of it" if isinstance(expected, int) else ""


def _smaller(alias: str, fits: float) -> str:
    return (
        f"Plan calls of at most {fits:.0f} tokens for {alias}; orchestrator.prompt: v2 tells the "
        "orchestrator what fits."
    )


def _struck(tried: Try) -> bool:
    """Whether it looks like a deadline, whatever the class says."""
    failure = tried.failure
    return failure is not None and failure.failure_class.value in TIMED and tried.at_deadline


def _long_silence(silent: float, stall: float | None, tried: Try) -> bool:
    long = silent > 0.5 * tried.seconds or (stall is not None and silent > 0.5 * stall)
    return long and not was_flowing(tried)


def _others_flowed(story: Story, tried: Try) -> bool:
    """Whether the engine produced tokens for others while this try got none. Its rate is over some
    seconds, so for a short try it would still show what came before."""
    if tried.seconds > RATE_WINDOW_S and (tried.number("engine_tokens_per_s") or 0.0) > 0:
        return True
    late = tried.ended_at - tried.seconds / 2
    return bool(story.served_by(tried.replica, late, tried.ended_at))


def _asked(tried: Try, rate: float, first: float) -> str:
    most = tried.number("max_tokens")
    would = 0.0 if most is None else first + most / rate
    return "" if most is None else f"; the {most:.0f} it may write would take {would:.1f} s"
