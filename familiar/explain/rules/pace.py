"""The pace of tokens: the backend fell silent, was slow, or the call was larger than its deadline.

All three end in a deadline, so the class that a deadline gave is only a claim. The time of the last
token, the rate, and the usual rate there decide.
"""

from __future__ import annotations

from familiar.explain.cause import Cause
from familiar.explain.exonerate import USUAL_SHARE, probe_ok, was_flowing
from familiar.explain.explanation import Evidence
from familiar.explain.rules.finding import LIKELY, POSSIBLE, SURE, Reading
from familiar.explain.story import Attempt, Story
from familiar.failure import FAILURES

FAR_BELOW = 0.25
"""A share of the usual rate that no load explains; between it and USUAL_SHARE it may be load."""
RATE_WINDOW_S = 5.0
"""The time that `engine_tokens_per_s` covers."""


def stalled(story: Story, attempt: Attempt) -> Reading | None:
    """Silence: at least half of the stall limit, or of the attempt, after the last token."""
    if not _struck(attempt):
        return None
    silent, stall = attempt.number("silent_s"), attempt.number("stall_limit_s")
    deadline = attempt.text("deadline")
    if attempt.first_token_s is None:
        if _others_flowed(story, attempt):
            return None
        says = f"No token came in {attempt.seconds:.1f} s, and nothing else was produced there."
    elif deadline == "stall" or (silent is not None and _long_silence(silent, stall, attempt)):
        says = f"It wrote {attempt.tokens} tokens and was then silent for {silent or 0:.1f} s."
    else:
        return None
    usual = story.usual_rate(attempt)
    return Reading(
        Cause.BACKEND_STALLED,
        SURE if silent is not None and (probe_ok(attempt) is not None or stall) else LIKELY,
        says,
        {
            "tokens": attempt.tokens,
            "silent_s": silent,
            "stall_limit_s": stall,
            "usual_tokens_per_s": None if usual is None else round(usual[0], 2),
        },
        against=(Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT, Cause.NODE_LOST),
    )


def slow(story: Story, attempt: Attempt) -> Reading | None:
    """Tokens came, but far below the usual rate, or the first one came very late."""
    if not _struck(attempt):
        return None
    rate, usual, limit = attempt.rate, story.usual_rate(attempt), attempt.number("deadline_s")
    first, likelihood = attempt.first_token_s, LIKELY
    if first is None:
        if not _others_flowed(story, attempt):
            return None
        others = attempt.number("engine_tokens_per_s") or 0.0
        says = f"No token came in {attempt.seconds:.1f} s; others got {others:.1f} tokens/s there."
    elif rate is not None and usual is not None and rate < USUAL_SHARE * usual[0]:
        if not was_flowing(attempt) and rate * (attempt.number("silent_s") or 0.0) > 5:
            return None
        likelihood = SURE if rate < FAR_BELOW * usual[0] else LIKELY
        says = (
            f"It decoded at {rate:.1f} tokens/s, {rate / usual[0]:.0%} of the {usual[0]:.1f} that "
            f"is usual ({usual[1]})."
        )
    elif limit is not None and first > limit / 2 and attempt.seconds >= 0.9 * limit:
        says = f"Its first token took {first:.1f} of {limit:g} s."
    elif rate is not None and usual is None and attempt.text("deadline") == "total" and rate < 1.0:
        says = f"It decoded at {rate:.2f} tokens/s; the usual rate is not known."
    else:
        return None
    return Reading(
        Cause.BACKEND_SLOW,
        likelihood,
        says,
        {
            "tokens": attempt.tokens,
            "tokens_per_s": None if rate is None else round(rate, 2),
            "usual_tokens_per_s": None if usual is None else round(usual[0], 2),
            "first_token_s": first,
        },
        against=(Cause.BACKEND_UNREACHABLE, Cause.BACKEND_STALLED, Cause.QUEUE_TIMEOUT),
    )


def oversized(story: Story, attempt: Attempt) -> Reading | None:
    """Tokens flowed at the usual rate until the deadline, or past the largest file allowed."""
    most = attempt.number("max_bytes")
    if most is not None:
        size = attempt.number("bytes") or most
        return Reading(
            Cause.CALL_OVERSIZED,
            SURE,
            f"It wrote {size:.0f} bytes where {most:.0f} are allowed.",
            {"bytes": size},
            against=(Cause.BACKEND_UNREACHABLE,),
            change=("Ask for less in one file, or raise workspace.max_file_mib.",),
        )
    if not _struck(attempt) or not was_flowing(attempt):
        return None
    rate, usual, limit = attempt.rate, story.usual_rate(attempt), attempt.number("deadline_s")
    assert rate is not None
    if attempt.text("deadline") not in ("", "total"):
        return None
    if limit is not None and attempt.seconds < 0.9 * limit:
        return None
    if usual is not None and rate < FAR_BELOW * usual[0]:
        return None
    at_rate = usual is not None and rate >= USUAL_SHARE * usual[0]
    likelihood = SURE if at_rate or probe_ok(attempt) else LIKELY
    if usual is not None and not at_rate:
        likelihood = POSSIBLE
    deadline, alias = limit or attempt.seconds, attempt.alias or "ALIAS"
    first, most = attempt.first_token_s or 0.0, attempt.number("max_tokens")
    fits = rate * max(deadline - first, 0.0)
    figures = {"fits_tokens": round(fits)} | ({} if most is None else {"max_tokens": most})
    room = Evidence(
        f"What fits: ({deadline:g} s - {first:.2f} s to the first token) x {rate:.1f} tokens/s "
        f"= {fits:.0f} tokens{_asked(most, rate, first)}{_expected(attempt)}.",
        (attempt.ended_seq,),
        figures,
    )
    smaller = (
        f"Plan calls of at most {fits:.0f} tokens for {alias}; orchestrator.prompt: v2 tells "
        "the orchestrator the limits."
    )
    return Reading(
        Cause.CALL_OVERSIZED,
        likelihood,
        f"It was still writing at {rate:.1f} tokens/s when its {deadline:g} s were over: "
        f"{attempt.tokens} tokens so far, and no end.",
        {"tokens": attempt.tokens, "tokens_per_s": round(rate, 2), "deadline_s": deadline},
        more=(room,),
        against=(
            Cause.BACKEND_UNREACHABLE,
            Cause.BACKEND_SLOW,
            Cause.BACKEND_STALLED,
            Cause.QUEUE_TIMEOUT,
        ),
        change=(smaller, f"Or raise aliases.{alias}.deadline_s, {deadline:g} now."),
    )


def _expected(attempt: Attempt) -> str:
    """The estimate that recovery made from what the call was asked."""
    expected = (
        None if attempt.recovery is None else attempt.recovery.evidence.get("tokens_expected")
    )
    return f"; about {expected} tokens are expected of it" if isinstance(expected, int) else ""


def _struck(attempt: Attempt) -> bool:
    """Whether it looks like a deadline, also where the class says otherwise."""
    failure = attempt.failure
    return failure is not None and FAILURES[failure.failure_class].timed and attempt.at_deadline


def _long_silence(silent: float, stall: float | None, attempt: Attempt) -> bool:
    long = silent > 0.5 * attempt.seconds or (stall is not None and silent > 0.5 * stall)
    return long and not was_flowing(attempt)


def _others_flowed(story: Story, attempt: Attempt) -> bool:
    """Whether the engine produced tokens for others while this attempt got none. Its rate covers
    some seconds, so for a short attempt it would still include earlier tokens."""
    if attempt.seconds > RATE_WINDOW_S and (attempt.number("engine_tokens_per_s") or 0.0) > 0:
        return True
    late = attempt.ended_at - attempt.seconds / 2
    return bool(story.served_by(attempt.replica, late, attempt.ended_at))


def _asked(most: float | None, rate: float, first: float) -> str:
    if most is None:
        return ""
    return f"; the {most:.0f} it may write would take {first + most / rate:.1f} s"
