"""All rules, in one table.

A rule about an attempt looks at one failed attempt and the whole history around it. The likeliest
finding about an attempt is its diagnosis; among equals, the first in this table. A rule about the
run looks at plans and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from familiar.explain.explanation import Finding
from familiar.explain.rules import answer, backend, ending, pace, planning, queueing, request
from familiar.explain.story import Attempt, Story

AttemptRule = Callable[[Story, Attempt], Finding | None]
RunRule = Callable[[Story], Iterable[Finding]]

ATTEMPT_RULES: tuple[AttemptRule, ...] = (
    backend.node_lost,
    request.model_unknown,
    request.key_rejected,
    request.rejected,
    request.context_overflow,
    request.truncated,
    queueing.queue_timeout,
    backend.overloaded,
    backend.flapping,
    backend.died,
    backend.cut,
    pace.stalled,
    pace.slow,
    pace.oversized,
    backend.unreachable,
    answer.answered_wrongly,
)

RUN_RULES: tuple[RunRule, ...] = (
    ending.cancelled,
    ending.budget,
    planning.nested,
    planning.rejected,
    planning.repeated,
    queueing.queue_wait,
    ending.unmet,
)
