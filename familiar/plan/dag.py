"""A plan as a graph: its order, what comes before a call, and the cycles in it.

`graphlib` does the walking. Dependencies outside the plan (calls of earlier turns) are no edges,
and neither is a call's dependency on itself, which the lint reports on its own. Linear in the calls
and edges; a cycle costs one more pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from familiar.event import PlannedCall


@dataclass(frozen=True, slots=True)
class Dag:
    """`before` holds the dependencies of each call, `order` all calls behind their dependencies.
    Calls on a cycle, and calls that wait for one, are in `stuck` and not in `order`; `cycle` names
    the members of one cycle, each followed by a call that waits for it, the first one repeated at
    the end."""

    before: Mapping[str, tuple[str, ...]]
    order: tuple[str, ...]
    stuck: frozenset[str]
    cycle: tuple[str, ...]

    def ranks(self) -> dict[str, int]:
        """The longest chain of calls behind each call, itself included: how urgent it is (upward
        rank with every call counted as 1; Topcuoglu, Hariri and Wu 2002)."""
        ranks = dict.fromkeys(self.order, 1)
        for name in reversed(self.order):
            for parent in self.before[name]:
                ranks[parent] = max(ranks[parent], ranks[name] + 1)
        return ranks

    def depths(self) -> dict[str, int]:
        """The longest chain of calls that each call waits for; 0 for the calls of a cycle."""
        depths = dict.fromkeys(self.before, 0)
        for name in self.order:
            depths[name] = max((depths[parent] + 1 for parent in self.before[name]), default=0)
        return depths

    def heaviest(self, weight: Mapping[str, float]) -> dict[str, float]:
        """The weight of the heaviest chain of calls that ends with each call, itself included."""
        chains = {name: weight.get(name, 0.0) for name in self.before}
        for name in self.order:
            chains[name] += max((chains[parent] for parent in self.before[name]), default=0.0)
        return chains

    def ancestors(self, name: str) -> frozenset[str]:
        """Every call of the plan that ends before `name` begins."""
        found: set[str] = set()
        open_ = list(self.before[name])
        while open_:
            if (parent := open_.pop()) not in found:
                found.add(parent)
                open_.extend(self.before[parent])
        return frozenset(found)


def dag(calls: Sequence[PlannedCall]) -> Dag:
    """The graph of `calls`; of two calls with one id, the later one counts."""
    names = {call.id for call in calls}
    before = {
        call.id: tuple(n for n in dict.fromkeys(call.depends_on) if n in names and n != call.id)
        for call in calls
    }
    sorter = TopologicalSorter(before)
    cycle = _cycle(sorter)
    order: list[str] = []
    while ready := sorter.get_ready():
        order.extend(ready)
        sorter.done(*ready)
    return Dag(before, tuple(order), frozenset(names.difference(order)), cycle)


def _cycle(sorter: TopologicalSorter[str]) -> tuple[str, ...]:
    """Prepare `sorter`; its nodes that no cycle blocks can be taken afterwards."""
    try:
        sorter.prepare()
    except CycleError as error:
        members: Iterable[str] = error.args[1]
        return tuple(members)
    return ()
