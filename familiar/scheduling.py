"""The next call and its replica: queues, limits and the choice, as pure bookkeeping.

A call waits in the queue of its alias, ordered by upward rank (how long a chain of calls waits
behind it, so that the critical path goes first) and then by arrival. It leaves when its alias is
below its parallel limit and a replica of its pool has a free slot. The replica is the least loaded
one that is ready, unless the call has a home (a replica whose prefix cache holds its prompt) with a
slot free, or must avoid one. Every assignment carries its reasons. Adding, assigning and releasing
cost O(log n).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from familiar.call import CallKey


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that is ready. `queued_at` in seconds since the Unix epoch."""

    key: CallKey
    alias: str
    queued_at: float
    rank: int = 0
    avoid: frozenset[str] = frozenset()
    home: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    waiting: Waiting
    replica: str
    reasons: tuple[str, ...]


@dataclass(slots=True)
class _Replica:
    name: str
    slots: int
    ready: bool
    in_flight: int = 0


@dataclass(slots=True)
class _Alias:
    pool: str
    parallel: int
    running: int = 0
    waiting: int = 0
    heap: list[tuple[int, int, CallKey]] = field(default_factory=list)


class Scheduler:
    def __init__(self, aliases: Iterable[tuple[str, str, int]]) -> None:
        """`aliases` as (alias, pool, parallel limit)."""
        self._aliases = {name: _Alias(pool, parallel) for name, pool, parallel in aliases}
        self._replicas: dict[str, dict[str, _Replica]] = {}
        self._waiting: dict[CallKey, Waiting] = {}
        self._placed: dict[CallKey, tuple[str, _Replica]] = {}
        self._arrivals = 0

    def set_replica(self, pool: str, replica: str, *, slots: int, ready: bool) -> None:
        """Say what a replica can take now. What it has in flight is known here already."""
        known = self._replicas.setdefault(pool, {})
        if replica in known:
            known[replica].slots, known[replica].ready = slots, ready
        else:
            known[replica] = _Replica(replica, slots, ready)

    def offer(self, waiting: Waiting) -> None:
        """Queue a call. Offering a key twice changes nothing."""
        if waiting.key in self._waiting or waiting.key in self._placed:
            return
        self._waiting[waiting.key] = waiting
        self._arrivals += 1
        alias = self._aliases[waiting.alias]
        alias.waiting += 1
        heapq.heappush(alias.heap, (-waiting.rank, self._arrivals, waiting.key))

    def occupy(self, key: CallKey, alias: str, replica: str) -> None:
        """Count a call that is in flight already (adopted after a restart)."""
        pool = self._replicas.setdefault(self._aliases[alias].pool, {})
        place = pool.setdefault(replica, _Replica(replica, 0, ready=False))
        if key not in self._placed:
            self._place(key, alias, place)

    def release(self, key: CallKey) -> None:
        """A call left its replica, or the queue."""
        self._leave_queue(key)
        placed = self._placed.pop(key, None)
        if placed is not None:
            alias, replica = placed
            self._aliases[alias].running -= 1
            replica.in_flight -= 1

    def expired(self, now: float, deadlines: dict[str, float]) -> list[Waiting]:
        """Calls that waited longer than their alias allows; `deadlines` in seconds by alias."""
        return [w for w in self._waiting.values() if now - w.queued_at > deadlines[w.alias]]

    def ready_slots(self, pool: str) -> int:
        """Slots of the replicas that can take calls now, taken ones included."""
        return sum(r.slots for r in self._replicas.get(pool, {}).values() if r.ready)

    def has_another(self, alias: str, avoid: frozenset[str]) -> bool:
        """Whether a replica that is not to be avoided can take calls of `alias` now or soon."""
        known = self._replicas.get(self._aliases[alias].pool, {})
        return any(replica.ready and name not in avoid for name, replica in known.items())

    def queued(self, pool: str) -> int:
        return sum(alias.waiting for alias in self._aliases.values() if alias.pool == pool)

    def running(self) -> dict[str, int]:
        return {name: alias.running for name, alias in self._aliases.items()}

    def waiting(self) -> dict[str, int]:
        return {name: alias.waiting for name, alias in self._aliases.items() if alias.waiting}

    def in_flight(self, pool: str, replica: str) -> int:
        known = self._replicas.get(pool, {}).get(replica)
        return 0 if known is None else known.in_flight

    def assign(self) -> list[Assignment]:
        """Everything that can leave its queue now, best first."""
        made: list[Assignment] = []
        while (best := self._next_alias()) is not None:
            name, alias = best
            _, _, key = heapq.heappop(alias.heap)
            waiting = self._leave_queue(key)
            if waiting is None:
                continue
            replica, reasons = self._route(waiting, alias.pool)
            self._place(key, name, replica)
            made.append(Assignment(waiting, replica.name, reasons))
        return made

    def _leave_queue(self, key: CallKey) -> Waiting | None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            self._aliases[waiting.alias].waiting -= 1
        return waiting

    def _next_alias(self) -> tuple[str, _Alias] | None:
        """The alias with the most urgent call that could start now."""
        best: tuple[str, _Alias] | None = None
        for name, alias in self._aliases.items():
            heap = alias.heap
            while heap and heap[0][2] not in self._waiting:
                heapq.heappop(heap)
            if not heap or alias.running >= alias.parallel or not self._free(alias.pool):
                continue
            if best is None or heap[0] < best[1].heap[0]:
                best = (name, alias)
        return best

    def _free(self, pool: str) -> list[_Replica]:
        return [
            replica
            for replica in self._replicas.get(pool, {}).values()
            if replica.ready and replica.in_flight < replica.slots
        ]

    def _route(self, waiting: Waiting, pool: str) -> tuple[_Replica, tuple[str, ...]]:
        free = self._free(pool)
        home = next((r for r in free if r.name == waiting.home), None)
        if home is not None and home.name not in waiting.avoid:
            return home, (f"{home.name} holds the prefix of this prompt",)
        wanted = [replica for replica in free if replica.name not in waiting.avoid]
        candidates = wanted or free
        best = min(candidates, key=lambda r: (r.in_flight / r.slots, r.name))
        reasons = [f"{best.name} has {best.in_flight} of {best.slots} slots taken"]
        if len(free) > 1:
            reasons[0] += f", the fewest of {len(free)}"
        if waiting.avoid:
            avoided = ", ".join(sorted(waiting.avoid))
            reasons.append(f"avoided {avoided}" if wanted else f"only {avoided} is free")
        return best, tuple(reasons)

    def _place(self, key: CallKey, alias: str, replica: _Replica) -> None:
        self._placed[key] = (alias, replica)
        self._aliases[alias].running += 1
        replica.in_flight += 1
