"""All rules, in one table.

A rule about a try looks at one failed try with the whole story around it; of the findings for one
try the likeliest counts as its diagnosis, the first in this table among equals. A rule about the
run looks at plans and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from familiar.explain.explanation import Finding
from familiar.explain.rules import answer, backend, ending, pace, planning, queueing, request
from familiar.explain.story import Story, Try

TryRule = Callable[[Story, Try], Finding | None]
RunRule = Callable[[Story], Iterable[Finding]]

TRY_RULES: tuple[TryRule, ...] = (
    backend.node_lost,
    request.model_unknown,
    request.key_refused,
    request.refused,
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
