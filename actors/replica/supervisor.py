"""One replica, kept alive: place it, start or adopt its actor, watch it, begin again with back-off.

The actor is detached and named, so it outlives the orchestrator: a new supervisor finds it by name
and keeps it when its fingerprint (configuration and code) is still right. Ray does not restart
replicas by itself; the back-off and the reasons belong to this module, so that an engine that never
starts gives a sentence and no busy loop. An attempt that was on a replica when it died fails with a
class, evidence, and the text that was polled last.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    RayActorError,
    RayError,
)

from actors.orchestrator.attempt import lost_outcome
from actors.remote_error import cause_of
from actors.replica.actor import MAX_ATTEMPTS, ReplicaStatus, attempted, replica_class
from actors.replica.written import Written
from cluster.named_actor import end_actor, ensure_actor
from cluster.placement import Placement
from familiar.call import CallKey, CallOrder, CallOutcome
from familiar.config.schema import PoolConfig
from familiar.engine import EngineStats
from familiar.errors import ClusterError, EngineError, FailureClass, StaleEpoch
from familiar.service import ReplicaView

REPLICA_PREFIX = "replica:"
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
POLL_S = 10.0
"""How long a live view waits for the text of a replica that may be dead."""
FINGERPRINT_S = 10.0
UNAVAILABLE_ROUNDS = 20
FIRST_PAUSE_S = 0.01
UNAVAILABLE_PAUSE_S = 0.25
SILENT_CHECKS = 3
TAKES_ATTEMPTS = frozenset({"ready", "degraded"})
"""The states in which attempts are sent to a replica."""
HOPELESS_STARTS = 3
"""After so many failed starts in a row, waiting calls are told instead of kept waiting."""


@dataclass(slots=True)
class Supervisor:
    """The keeper of one replica. `on_change` is called with each new view of it."""

    pool: str
    replica: str
    config: PoolConfig
    index: int
    namespace: str
    fingerprint: str
    on_change: Callable[[ReplicaView], None]
    state: str = "starting"
    detail: str = "waiting for its devices"
    handle: Any = None
    placement: Placement | None = None
    status: ReplicaStatus | None = None
    failed_starts: int = 0
    last_error: str = ""
    last_evidence: dict[str, JsonValue] = field(default_factory=dict)
    written: Written = field(default_factory=Written)
    _down: asyncio.Event = field(default_factory=asyncio.Event)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return REPLICA_PREFIX + self.replica

    @property
    def hopeless(self) -> bool:
        return self.failed_starts >= HOPELESS_STARTS

    @property
    def devices(self) -> tuple[str, ...]:
        placement = self.placement
        return () if placement is None else tuple(str(device) for device in placement.devices)

    def view(self, in_flight: int = 0) -> ReplicaView:
        placement = self.placement
        return ReplicaView(
            replica=self.replica,
            pool=self.pool,
            state=self.state,
            detail=self.detail,
            devices=self.devices,
            node="" if placement is None else placement.node_id,
            slots=self.config.slots,
            in_flight=in_flight,
            stats=EngineStats() if self.status is None else self.status.stats,
        )

    def place(self, placement: Placement | None, reason: str = "") -> None:
        """The devices that the replica has from now on; None, with the reason, when it has none.
        Other devices than before mean a new process."""
        if placement is None and (self.state, self.detail) != ("unplaced", reason):
            self._set("unplaced", reason)
        if placement != self.placement:
            self.placement = placement
            self._moved.set()
            self._down.set()

    async def keep(self) -> None:
        """Keep the replica alive where it is placed, until cancelled."""
        while True:
            self._moved.clear()
            if self.placement is None:
                await self._moved.wait()
                continue
            try:
                await self._start()
                self.failed_starts = 0
                await self._watch()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever a start or a watch can raise ends in a new start
                self.failed_starts += self.state == "starting"
                self.last_error, self.last_evidence = _cause(error), _evidence(error)
            await self._discard()
            if self._moved.is_set():
                continue
            pause = BACKOFF_S[min(self.failed_starts, len(BACKOFF_S) - 1)]
            self._set("backing_off", f"{self.last_error}; next start in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._moved.wait()

    async def attempt(self, order: CallOrder) -> CallOutcome:
        """Have the replica carry out an attempt, or attach to it where it holds it already. Raises
        `StaleEpoch`."""
        self.written.begin(order.key, order.alias)
        try:
            return await self._attempt(order)
        finally:
            self.written.end(order.key)

    async def _attempt(self, order: CallOrder) -> CallOutcome:
        handle = self.handle
        if handle is None:
            return self._lost(order.key, f"replica {self.replica} is {self.state}: {self.detail}")
        said = ""
        for round_ in range(UNAVAILABLE_ROUNDS):
            try:
                return await attempted(handle, order)
            except ActorDiedError as error:
                self._is_down(handle)
                said = f"replica {self.replica} died: {_cause(error)}"
                return self._lost(order.key, said, process_died=True)
            except ActorUnavailableError as error:
                # Asked again, it attaches to the attempt; a successor would not know it.
                said = _cause(error)
                await asyncio.sleep(min(UNAVAILABLE_PAUSE_S, FIRST_PAUSE_S * 2**round_))
            except RayError as error:
                cause = cause_of(error)
                if isinstance(cause, StaleEpoch):
                    raise cause from None
                return self._lost(order.key, f"replica {self.replica} failed: {_cause(error)}")
        self._is_down(handle)
        return self._lost(order.key, f"replica {self.replica} does not answer: {said}")

    async def look(self) -> None:
        """A call failed as if the replica were gone: see whether it is, before more is sent to it
        and fails the same way."""
        handle = self.handle
        if handle is None or self.state not in TAKES_ATTEMPTS:
            return
        try:
            await self._poll()
        except ActorDiedError:
            self._is_down(handle)
        except (RayActorError, TimeoutError):
            self._set("unhealthy", "it does not answer")
        else:
            if self.status is not None and not self.status.healthy:
                self._set("unhealthy", self.status.detail)

    def _is_down(self, handle: Any) -> None:
        """News of an earlier process must not end its successor."""
        if handle == self.handle:
            self._down.set()
            self._set("dead", "its process is gone")

    async def poll_text(self) -> None:
        """Read how far the running attempts are, and the text that is new since the last time."""
        handle = self.handle
        if handle is None:
            return
        async with asyncio.timeout(POLL_S):
            self.written.add(await handle.progress.remote(self.written.offsets()))

    def _lost(self, key: CallKey, message: str, *, process_died: bool = False) -> CallOutcome:
        evidence: dict[str, JsonValue] = {
            "replica": self.replica,
            "state": self.state,
            "started": True,
            "process_died": process_died,
        }
        outcome = lost_outcome(key, FailureClass.BACKEND_UNREACHABLE, message, evidence)
        return replace(outcome, raw=self.written.text(key), partial_incomplete=True)

    async def _start(self) -> None:
        self._set("starting", "starting its process")
        self.handle = await asyncio.to_thread(self._get_or_create)
        self._down.clear()
        loading = asyncio.ensure_future(self._load(self.handle))
        moved = asyncio.ensure_future(self._moved.wait())
        try:
            # A process whose node is gone never begins, and nothing would say so.
            await asyncio.wait({loading, moved}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                raise ClusterError("its devices were lost while it started")
            loading.result()
        finally:
            loading.cancel()
            moved.cancel()
        self._serves()

    async def _load(self, handle: Any) -> None:
        """Load its model, and tell meanwhile how far it is."""
        deadline = time.monotonic() + self.config.start_deadline_s
        starting = asyncio.ensure_future(handle.start.remote())
        try:
            while True:
                done, _ = await asyncio.wait({starting}, timeout=1.0)
                if done:
                    starting.result()
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"the engine did not start in pools.{self.pool}.start_deadline_s = "
                        f"{self.config.start_deadline_s:g} s; last seen: {self.detail}"
                    )
                with contextlib.suppress(TimeoutError):
                    await self._poll()
                    self._set("starting", self.status.detail if self.status else self.detail)
        finally:
            starting.cancel()
        await self._poll()

    def _serves(self) -> None:
        """It takes attempts; a server at a URL that is not well says so."""
        if self.status is not None and self.status.state == "degraded":
            self._set("degraded", self.status.detail)
        else:
            self._set("ready", "")

    def _get_or_create(self) -> Any:
        assert self.placement is not None
        return ensure_actor(
            replica_class(),
            name=self.name,
            namespace=self.namespace,
            fingerprint=self.fingerprint,
            options={
                "max_restarts": 0,
                "max_concurrency": MAX_ATTEMPTS,
                **self.placement.options(),
            },
            keywords={
                "pool": self.pool,
                "replica_id": self.replica,
                "config": self.config,
                "replica": self.config.replicas[self.index],
                "fingerprint": self.fingerprint,
            },
            answer_s=FINGERPRINT_S,
        )

    async def _watch(self) -> None:
        silent = 0
        while True:
            try:
                async with asyncio.timeout(self.config.health_interval_s):
                    await self._down.wait()
                self.last_error = "its process is gone"
                return
            except TimeoutError:
                pass
            silent = await self._silent(silent)
            if self.status is not None and not self.status.healthy:
                self.last_error = self.status.detail
                return
            if not silent:
                self._serves()

    async def _silent(self, before: int) -> int:
        """How many health checks in a row had no answer; raises `TimeoutError` at the limit,
        because a replica that is only slow on a busy machine must not be ended for one late
        answer."""
        try:
            await self._poll()
        except (ActorUnavailableError, TimeoutError):
            if before + 1 >= SILENT_CHECKS:
                raise TimeoutError(
                    f"it did not answer {SILENT_CHECKS} health checks in a row"
                ) from None
            return before + 1
        return 0

    async def _poll(self) -> None:
        async with asyncio.timeout(max(10.0, 2 * self.config.health_interval_s)):
            self.status = await self.handle.status.remote()

    async def _discard(self) -> None:
        handle, self.handle = self.handle, None
        self._set("dead", self.last_error)
        if handle is not None:
            await asyncio.to_thread(end_actor, handle, self.name, self.namespace)

    def _set(self, state: str, detail: str) -> None:
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self.on_change(self.view())


def _cause(error: Exception) -> str:
    """The first line of a Ray error that says something to a person."""
    cause = cause_of(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(cause).__name__


def _evidence(error: Exception) -> dict[str, JsonValue]:
    """The evidence of a failed start, for the calls that wait for it in vain."""
    cause = cause_of(error)
    if not isinstance(cause, EngineError):
        return {}
    known = {name: value for name, value in cause.evidence.items() if isinstance(value, str | int)}
    return {"start_class": cause.failure_class.value, **known}
