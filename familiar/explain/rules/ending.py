"""The run's own end: a budget, a cancellation, files that were not made.

A budget's limit and use stand in an event of their own; what it went into is counted here from the
attempts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from familiar.errors import FailureClass
from familiar.event import Budget
from familiar.explain.cause import Cause
from familiar.explain.explanation import Evidence, Figure, Finding
from familiar.explain.rules.finding import LIKELY, SURE
from familiar.explain.story import Story

_SETTING = re.compile(r"budgets\.([a-z_]{1,30})")


def budget(story: Story) -> Iterator[Finding]:
    """The end by a used-up budget, and the calls that used it."""
    end = story.end
    if end is None or end.failure_class is not FailureClass.BUDGET_EXHAUSTED:
        return
    reached = [(seq, body) for seq, body in story.budgets if not body.soft]
    evidence = [Evidence(end.reason, (story.end_seq,))]
    cause = Cause.BUDGET_OTHER
    if reached:
        seq, body = reached[-1]
        cause = Cause(f"budget_{body.budget}")
        evidence.append(
            Evidence(
                f"budgets.{body.budget} allows {body.limit:g}, and {body.used:g} are used.",
                (seq,),
                {"limit": body.limit, "used": body.used},
            )
        )
    elif (named := _SETTING.search(end.reason)) is not None:
        cause = Cause(f"budget_{named[1]}") if named[1] in get_args(Budget) else cause
    yield Finding(
        cause,
        SURE,
        (*evidence, _used(story), *_spenders(story)),
        lost_s=story.seconds,
        decisive=cause is not Cause.BUDGET_TURNS or not _lost_in_last_turn(story),
    )


def _lost_in_last_turn(story: Story) -> bool:
    """Whether calls of the last turn were lost: then that is why another turn was wanted."""
    last = story.turns[-1] if story.turns else 0
    return any(
        story.planned_turn.get(attempt.call) == last and not story.recovered(attempt)
        for attempt in story.failed_attempts
    )


def cancelled(story: Story) -> Iterator[Finding]:
    end = story.end
    if end is not None and end.outcome == "cancelled":
        events = tuple(seq for seq in (story.cancel_seq, story.end_seq) if seq)
        yield Finding(Cause.CANCELLED, SURE, (Evidence(end.reason, events),), decisive=True)


def unmet(story: Story) -> Iterator[Finding]:
    """Files that were named and not made, and calls that were never attempted."""
    end = story.end
    if end is None or end.outcome != "failed":
        return
    ended = (story.end_seq,)
    if story.missing and end.failure_class is FailureClass.FILES_MISSING:
        never = Evidence(f"Never published: {', '.join(story.missing)}.", ended)
        yield Finding(Cause.FILES_MISSING, LIKELY, (never,), decisive=True)
    if end.failure_class is FailureClass.INTERNAL:
        yield Finding(Cause.INTERNAL, LIKELY, (Evidence(end.reason, ended),), decisive=True)
    for call, (seq, skipped) in story.skipped.items():
        why = Evidence(f"{call} was skipped because of {', '.join(skipped.because)}.", (seq,))
        yield Finding(Cause.DEPENDENCY_FAILED, LIKELY, (why,), call=call, decisive=True)


def _used(story: Story) -> Evidence:
    spent = story.spent
    dispatched = sum(1 for attempt in story.attempts.values() if attempt.dispatched is not None)
    figures: dict[str, Figure] = {
        "turns": len(story.turns),
        "model_calls": dispatched,
        "prompt_tokens": spent.prompt,
        "output_tokens": spent.output,
        "recoveries": sum(
            1
            for attempt in story.attempts.values()
            if attempt.recovery is not None and attempt.recovery.action != "give_up"
        ),
        "wall_s": round(story.seconds, 2),
    }
    counted = ", ".join(f"{name} {value}" for name, value in figures.items())
    return Evidence(f"Counted from the events: {counted}.", (story.end_seq,), figures)


def _spenders(story: Story) -> tuple[Evidence, ...]:
    """The aliases that used most output tokens, and the tokens of failed attempts."""
    spent = story.spent
    if not spent.by_alias:
        return ()
    shares = ", ".join(f"{alias} {tokens}" for alias, tokens in spent.by_alias.most_common(4))
    lost = f"; {spent.wasted} of them in attempts that failed" if spent.wasted else ""
    return (Evidence(f"Output tokens by alias: {shares}{lost}."),)
