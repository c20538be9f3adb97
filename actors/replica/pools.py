"""All pools of a deployment as the orchestrator holds them: the supervisors of their replicas.

An attempt is sent to the replica that the dispatcher chose; outcomes that are committed are
released there, many at a time. The attempts of an earlier orchestrator are asked for once, when the
replica is found, and adopted by key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from dataclasses import replace
from typing import Any

from pydantic import JsonValue
from ray.exceptions import RayActorError, RayError

from actors.fingerprint import replica_fingerprint
from actors.orchestrator.attempt import lost_outcome
from actors.orchestrator.dispatcher import Dispatcher, HopelessPool
from actors.replica.probe import probe_node, probe_replica
from actors.replica.supervisor import REPLICA_PREFIX, TAKES_ATTEMPTS, Supervisor
from actors.replica.written import LOOK_S
from actors.tasks import Tasks
from cluster.assignment import replicas_of
from cluster.named_actor import end_actor, find_actor, list_actors
from cluster.placement import Reconciler
from familiar.call import CallKey, CallOrder, CallOutcome
from familiar.config.schema import Config
from familiar.errors import ClusterError, FailureClass
from familiar.failure import FAILURES
from familiar.service import CallProgress, PoolView, ReplicaView, namespace_of

PLACE_PAUSE_S = 2.0
RELEASE_PAUSE_S = 0.2
ASK_TIMEOUT_S = 10.0

log = logging.getLogger("familiar.pools")


class Pools:
    def __init__(self, config: Config, epoch: int, dispatcher: Dispatcher) -> None:
        self._config = config
        self._epoch = epoch
        self._dispatcher = dispatcher
        self._namespace = namespace_of(config.deployment)
        self._settled: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._held: dict[CallKey, str] = {}
        self._committed: defaultdict[str, list[CallKey]] = defaultdict(list)
        self._tasks = Tasks()
        self._place_error: str = ""
        self._supervisors = {
            f"{name}:{index}": Supervisor(
                pool=name,
                replica=f"{name}:{index}",
                config=pool,
                index=index,
                namespace=self._namespace,
                fingerprint=replica_fingerprint(config, name, index),
                on_change=self._changed,
            )
            for name, pool in config.pools.items()
            for index in range(len(pool.replicas))
        }

    async def open(self) -> None:
        """Fence off older orchestrators, and adopt what replicas still hold."""
        await asyncio.to_thread(self._end_unnamed)
        known = await asyncio.to_thread(self._known_replicas)
        await asyncio.gather(*(self._ask_held(name, handle) for name, handle in known.items()))
        for name, handle in known.items():
            self._supervisors[name].handle = handle
        for supervisor in self._supervisors.values():
            self._tasks.spawn(supervisor.keep())
        self._tasks.spawn(self._keep_placed())
        self._tasks.spawn(self._release_committed())
        self._tasks.spawn(self._poll_texts())

    async def close(self) -> None:
        await self._tasks.close()

    # Attempts.

    async def attempt(self, replica: str, order: CallOrder) -> CallOutcome:
        """The outcome of an attempt; a replica that is gone, or unknown, gives a failure. Raises
        `StaleEpoch`."""
        supervisor = self._supervisors.get(replica)
        if supervisor is None:
            message = f"replica {replica} is not in the configuration any more"
            return lost_outcome(order.key, FailureClass.BACKEND_UNREACHABLE, message)
        outcome = await supervisor.attempt(order)
        failure = outcome.failure
        if failure and failure.failure_class is FailureClass.BACKEND_UNREACHABLE:
            await supervisor.look()
        return outcome if failure is None else await self._with_evidence(outcome, replica, order)

    async def _with_evidence(
        self, outcome: CallOutcome, replica: str, order: CallOrder
    ) -> CallOutcome:
        """The outcome of a failed attempt with the evidence of this moment (`probe`)."""
        supervisor, failure = self._supervisors.get(replica), outcome.failure
        if supervisor is None or failure is None or not FAILURES[failure.failure_class].probed:
            return outcome
        pool = supervisor.pool
        seen: dict[str, JsonValue] = {
            "queued": self._dispatcher.queued(pool),
            "in_flight": self._dispatcher.in_flight(pool, replica),
            "max_tokens": order.request.sampling.max_tokens,
            "deadline_s": order.deadlines.total_s,
        }
        seen |= await probe_replica(supervisor.handle)
        if failure.failure_class is FailureClass.BACKEND_UNREACHABLE:
            seen |= await probe_node(supervisor.view().node)
        return replace(outcome, failure=replace(failure, evidence={**seen, **failure.evidence}))

    async def holder(self, key: CallKey, replica: str) -> str | None:
        """The replica that holds an attempt of an earlier orchestrator. When none does, `replica`
        can begin it afterwards: it was given time to be ready."""
        if key in self._held:
            return self._held[key]
        if replica in self._supervisors:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await self._settled[replica].wait()
        return self._held.get(key)

    def forget(self, replica: str, key: CallKey) -> None:
        """The outcome is committed: have its replica release it, soon."""
        self._held.pop(key, None)
        self._committed[replica].append(key)

    async def cancel(self, replica: str, key: CallKey) -> None:
        supervisor = self._supervisors.get(replica)
        if supervisor is not None and supervisor.handle is not None:
            with contextlib.suppress(RayError, TimeoutError):
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await supervisor.handle.cancel.remote(key)

    # What people and the scheduler see.

    def views(self) -> tuple[PoolView, ...]:
        config = self._config
        return tuple(
            PoolView(
                pool=name,
                engine=pool.engine,
                model=pool.model,
                aliases=tuple(a for a, alias in config.aliases.items() if alias.pool == name),
                queued=self._dispatcher.queued(name),
                replicas=tuple(
                    s.view(self._dispatcher.in_flight(name, s.replica))
                    for s in self._supervisors.values()
                    if s.pool == name
                ),
            )
            for name, pool in config.pools.items()
        )

    def devices(self, replica: str) -> tuple[str, ...]:
        supervisor = self._supervisors.get(replica)
        return () if supervisor is None else supervisor.devices

    @property
    def used(self) -> set[str]:
        """The pools that an alias can be given to."""
        return {alias.pool for alias in self._config.aliases.values() if alias.enabled}

    def reasons(self) -> list[str]:
        """Why runs cannot be worked on yet: one sentence for each pool without a ready replica."""
        reasons = [self._place_error] if self._place_error else []
        for pool in sorted(self.used):
            members = [s for s in self._supervisors.values() if s.pool == pool]
            if not any(s.state in TAKES_ATTEMPTS for s in members):
                states = "; ".join(f"{s.replica} {s.state}: {s.detail}" for s in members)
                reasons.append(f"Pool {pool} has no ready replica ({states}).")
        return reasons

    def warnings(self) -> list[str]:
        """Replicas that do not do all that they are there for, although their pools take attempts:
        one sentence each."""
        return [
            f"Replica {s.replica} is {s.state}: {s.detail}"
            for s in self._supervisors.values()
            if s.state in {"degraded", "unplaced"}
        ]

    def hopeless(self) -> dict[str, HopelessPool]:
        """Pools whose every replica failed to start again and again, with the last reason."""
        members: defaultdict[str, list[Supervisor]] = defaultdict(list)
        for supervisor in self._supervisors.values():
            members[supervisor.pool].append(supervisor)
        return {
            pool: HopelessPool(group[-1].last_error, group[-1].last_evidence)
            for pool, group in members.items()
            if all(s.hopeless for s in group)
        }

    async def progress(self, run_id: str) -> tuple[CallProgress, ...]:
        """The run's attempts in flight, at most a second old while somebody goes on asking."""
        await self._poll(looked_at=True)
        return tuple(
            CallProgress(
                call=key.call_id,
                attempt=key.attempt,
                alias=alias,
                replica=supervisor.replica,
                tokens=seen.tokens,
                tokens_per_s=seen.tokens_per_s,
            )
            for supervisor in self._supervisors.values()
            for key, alias, seen in supervisor.written.of_run(run_id)
        )

    async def _poll_texts(self) -> None:
        """Keep the text of long attempts, in case their replica dies."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self._poll(looked_at=False)

    async def _poll(self, *, looked_at: bool) -> None:
        """One request to each replica that it is time to ask; one that does not answer is left
        out."""
        due = [s for s in self._supervisors.values() if s.written.due(looked_at=looked_at)]
        await asyncio.gather(*(s.poll_text() for s in due), return_exceptions=True)

    # Life.

    def _changed(self, view: ReplicaView) -> None:
        log.info("replica %s is %s %s", view.replica, view.state, view.detail)
        if view.state in TAKES_ATTEMPTS:
            self._tasks.spawn(self._became_ready(view))
        else:
            self._settled[view.replica].clear()
            self._dispatcher.replica_changed(view)

    async def _became_ready(self, view: ReplicaView) -> None:
        """Before its first call: fence it with our epoch, and ask for the attempts it holds."""
        supervisor = self._supervisors[view.replica]
        await self._ask_held(view.replica, supervisor.handle)
        if supervisor.state in TAKES_ATTEMPTS:
            self._settled[view.replica].set()
            self._dispatcher.replica_changed(view)

    async def _keep_placed(self) -> None:
        """Look after the reservations all the time: nodes are lost, and others join."""
        reconciler = Reconciler(self._config.deployment)
        wanted = replicas_of(self._config)
        while True:
            try:
                found = await asyncio.to_thread(reconciler.reconcile, wanted)
            except Exception as error:  # whatever Ray raises, the next look may succeed
                self._place_error = str(error)
                log.error("placement: %s", error, exc_info=not isinstance(error, ClusterError))
            else:
                self._place_error = ""
                for name, supervisor in self._supervisors.items():
                    supervisor.place(found.placements.get(name), found.missing.get(name, ""))
            await asyncio.sleep(PLACE_PAUSE_S)

    async def _ask_held(self, name: str, handle: Any) -> None:
        """Which attempts does it hold? The question carries our epoch, which fences off an older
        one."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                for key in await handle.held.remote(self._epoch):
                    self._held[key] = name
        except (RayActorError, TimeoutError, AttributeError) as error:
            log.warning("%s does not list its attempts: %s", name, error)

    async def _release_committed(self) -> None:
        """Tell holders, now and then, which outcomes they may forget."""
        while True:
            await asyncio.sleep(RELEASE_PAUSE_S)
            batches, self._committed = self._committed, defaultdict(list)
            for name, keys in batches.items():
                handle = getattr(self._supervisors.get(name), "handle", None)
                if handle is not None:
                    handle.release.remote(keys)

    def _known_replicas(self) -> dict[str, Any]:
        found = {
            name: find_actor(supervisor.name, self._namespace)
            for name, supervisor in self._supervisors.items()
        }
        return {name: handle for name, handle in found.items() if handle is not None}

    def _end_unnamed(self) -> None:
        """End the replicas of earlier configurations that this one does not name."""
        wanted = {supervisor.name for supervisor in self._supervisors.values()}
        for name, handle in list_actors(self._namespace, REPLICA_PREFIX).items():
            if name not in wanted:
                log.info("%s is not in the configuration any more; it is ended", name)
                end_actor(handle, name, self._namespace)
