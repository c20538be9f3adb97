"""The scheduler inside the orchestrator's event loop: a waiting call has a future, and a call that
ends frees its slot.

All choices are `familiar.scheduling`'s. This module adds what needs a clock: the deadline of the
queue, which starts when the call is ready, but not before its pool was ready once, and the early
end of a wait for a pool whose engines cannot be started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from familiar.call import CallKey
from familiar.config.schema import Config
from familiar.errors import CallError, FailureClass
from familiar.plan.view import PoolLoad
from familiar.scheduling import Assignment, Scheduler, Waiting
from familiar.service import ReplicaView


@dataclass(frozen=True, slots=True)
class HopelessPool:
    """A pool that cannot be started: why, and what its engine's error knew."""

    reason: str
    evidence: Mapping[str, JsonValue] = field(default_factory=dict)


class Dispatcher:
    """Slots of all replicas. Single-threaded: every method runs in the orchestrator's loop."""

    def __init__(self, config: Config) -> None:
        self._scheduler = Scheduler(
            (name, alias.pool, alias.parallel) for name, alias in config.aliases.items()
        )
        self._pool_of = {name: alias.pool for name, alias in config.aliases.items()}
        self._deadlines = {name: alias.queue_deadline_s for name, alias in config.aliases.items()}
        self._futures: dict[CallKey, asyncio.Future[Assignment]] = {}
        self._ready_since: dict[str, float] = {}

    def replica_changed(self, view: ReplicaView) -> None:
        """A replica became ready, or cannot take calls any more."""
        ready = view.state in {"ready", "degraded"}
        if ready:
            self._ready_since.setdefault(view.pool, time.time())
        self._scheduler.set_replica(view.pool, view.replica, slots=view.slots, ready=ready)
        if ready:
            self._pump()

    async def rest(self, alias: str, avoid: frozenset[str], not_before: float) -> None:
        """Wait until the server that asked for time may be asked again. Returns at once where
        another replica can take the call."""
        left = min(not_before - time.time(), self._deadlines[alias])
        if left > 0 and not self._scheduler.has_another(alias, avoid):
            await asyncio.sleep(left)

    async def slot(self, waiting: Waiting) -> Assignment:
        """Wait for a replica. Raises `CallError` when the queue's deadline passes or the pool is
        lost."""
        future: asyncio.Future[Assignment] = asyncio.get_running_loop().create_future()
        self._futures[waiting.key] = future
        self._scheduler.offer(waiting)
        self._pump()
        try:
            return await future
        finally:
            self._futures.pop(waiting.key, None)
            if future.cancelled() or future.exception() is not None:
                self._scheduler.release(waiting.key)

    def check_alias(self, key: CallKey, alias: str) -> None:
        """Raise `CallError` for an alias that is not in the configuration any more."""
        if alias not in self._pool_of:
            raise CallError(
                f"{key}: alias {alias} is not in the configuration any more.",
                failure_class=FailureClass.ALIAS_REMOVED,
                evidence={"alias": alias},
            )

    def occupy(self, key: CallKey, alias: str, replica: str) -> None:
        """Count an attempt that is in flight already. One of a former alias has no limit, and its
        replica counts it itself."""
        if alias in self._pool_of:
            self._scheduler.occupy(key, alias, replica)

    def release(self, key: CallKey) -> None:
        self._scheduler.release(key)
        self._pump()

    def queued(self, pool: str) -> int:
        return self._scheduler.queued(pool)

    def load(self, rates: Mapping[str, float]) -> PoolLoad:
        """How busy each alias is now, beside the measured `rates`."""
        return PoolLoad(rates, self._scheduler.running(), self._scheduler.waiting())

    def in_flight(self, pool: str, replica: str) -> int:
        return self._scheduler.in_flight(pool, replica)

    def expire(self, lost_pools: Mapping[str, HopelessPool]) -> None:
        """Fail what has waited too long. `lost_pools` maps a pool that cannot be started to the
        reason."""
        now = time.time()
        for waiting in self._waiting_in(lost_pools):
            pool = self._pool_of[waiting.alias]
            lost = lost_pools[pool]
            self._fail(
                waiting,
                CallError(
                    f"{waiting.key}: no replica of pool {pool} can be started: {lost.reason}",
                    failure_class=FailureClass.BACKEND_UNREACHABLE,
                    evidence={
                        **lost.evidence,
                        "pool": pool,
                        "reason": lost.reason,
                        "started": False,
                    },
                ),
            )
        for waiting in self._scheduler.expired(now, self._deadlines):
            since = self._ready_since.get(self._pool_of[waiting.alias])
            waited = now - max(waiting.queued_at, since or now)
            if waited > self._deadlines[waiting.alias]:
                self._fail(waiting, self._queue_timeout(waiting, waited))

    def _queue_timeout(self, waiting: Waiting, waited: float) -> CallError:
        pool = self._pool_of[waiting.alias]
        return CallError(
            f"{waiting.key} waited {waited:.1f} s for a slot of pool {pool}; alias {waiting.alias} "
            f"allows {self._deadlines[waiting.alias]:g} s.",
            failure_class=FailureClass.QUEUE_TIMEOUT,
            evidence={
                "pool": pool,
                "waited_s": round(waited, 3),
                "queued": self.queued(pool),
                "ready_slots": self._scheduler.ready_slots(pool),
            },
            remedy="Add replicas or slots, or plan fewer calls at once.",
        )

    def _waiting_in(self, pools: Iterable[str]) -> list[Waiting]:
        lost = set(pools)
        if not lost:
            return []
        anyone = dict.fromkeys(self._deadlines, -1.0)
        return [
            waiting
            for waiting in self._scheduler.expired(float("inf"), anyone)
            if self._pool_of[waiting.alias] in lost
        ]

    def _fail(self, waiting: Waiting, error: CallError) -> None:
        future = self._futures.get(waiting.key)
        if future is not None and not future.done():
            future.set_exception(error)

    def _pump(self) -> None:
        for assignment in self._scheduler.assign():
            future = self._futures.get(assignment.waiting.key)
            if future is None or future.done():
                self._scheduler.release(assignment.waiting.key)
            else:
                future.set_result(assignment)
