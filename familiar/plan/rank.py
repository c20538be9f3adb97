"""How urgent the calls of a plan are."""

from __future__ import annotations

from collections.abc import Sequence

from familiar.event import PlannedCall
from familiar.plan.dag import dag


def upward_ranks(calls: Sequence[PlannedCall]) -> dict[str, int]:
    """Rank by call id, 1 for a call that nothing waits for. `calls` must be free of cycles."""
    return dag(calls).ranks()
