"""How urgent a call is: the longest chain of calls that waits behind it (its upward rank, with
every call counted as 1; Topcuoglu, Hariri and Wu 2002 weigh by cost, which is not known before a
model has written).
"""

from __future__ import annotations

from collections.abc import Sequence

from familiar.event import PlannedCall


def upward_ranks(calls: Sequence[PlannedCall]) -> dict[str, int]:
    """Rank by call id, 1 for a call that nothing waits for. `calls` must be free of cycles."""
    waiting: dict[str, list[str]] = {call.id: [] for call in calls}
    open_dependents: dict[str, int] = dict.fromkeys(waiting, 0)
    for call in calls:
        for name in call.depends_on:
            if name in waiting:
                waiting[name].append(call.id)
                open_dependents[name] += 1
    ranks: dict[str, int] = {}
    parents = {call.id: call.depends_on for call in calls}
    ready = [name for name, count in open_dependents.items() if count == 0]
    while ready:
        name = ready.pop()
        ranks[name] = 1 + max((ranks[after] for after in waiting[name]), default=0)
        for parent in parents[name]:
            if parent in open_dependents:
                open_dependents[parent] -= 1
                if open_dependents[parent] == 0:
                    ready.append(parent)
    return ranks
