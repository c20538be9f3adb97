"""All pools of a deployment as the orchestrator holds them: supervisors, and the workbench beside
the workspace.

Where a call is carried out is decided here, once for each replica: in the replica's own process
when that node sees the workspaces (no token crosses Ray), otherwise by the workbench actor, which
takes the replica's stream. Publishing always happens beside the workspace, so that one process at a
time writes a repository's history.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.dispatcher import Dispatcher, HopelessPool
from actors.fingerprint import replica_fingerprint
from actors.outcome import lost_outcome
from actors.probe import PROBED, probe_node, probe_replica
from actors.supervisor import REPLICA_PREFIX, Supervisor
from actors.tasks import Tasks
from actors.workbench_actor import WORKBENCH
from actors.workbench_client import WorkbenchClient
from cluster.assignment import replicas_of
from cluster.named_actor import end_actor, find_actor
from cluster.placement import Placement, reserve
from familiar.call import (
    CallKey,
    CallOrder,
    CallOutcome,
    JsonScalar,
    Publication,
    Published,
)
from familiar.config.schema import Config
from familiar.errors import ClusterError, FailureClass
from familiar.service import CallProgress, PoolView, ReplicaView, namespace_of

PLACE_PAUSE_S = 5.0
RELEASE_PAUSE_S = 0.2
ASK_TIMEOUT_S = 10.0

log = logging.getLogger("familiar.pools")


class Pools:
    """Made and used in the orchestrator's event loop."""

    def __init__(self, config: Config, epoch: int, dispatcher: Dispatcher) -> None:
        self._config = config
        self._epoch = epoch
        self._dispatcher = dispatcher
        self._namespace = namespace_of(config.deployment)
        self._root = str(Path(config.workspace.root).expanduser())
        self._workbench = WorkbenchClient(self._namespace, self._root, epoch)
        self._remote: set[str] = set()
        self._settled: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._held: dict[CallKey, str] = {}
        self._committed: defaultdict[str, list[CallKey]] = defaultdict(list)
        self._tasks = Tasks()
        self._place_error: str = ""
        self._alias_of: dict[CallKey, str] = {}
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
        """Find or start the workbench, fence off older orchestrators, adopt what is still held."""
        await self._workbench.open()
        await self._ask_held(WORKBENCH, self._workbench.handle)
        await asyncio.to_thread(self._end_unnamed)
        known = await asyncio.to_thread(self._known_replicas)
        await asyncio.gather(*(self._ask_held(name, handle) for name, handle in known.items()))
        for name, handle in known.items():
            self._supervisors[name].handle = handle
        self._tasks.spawn(self._place())
        self._tasks.spawn(self._release_committed())

    async def close(self) -> None:
        await self._tasks.close()

    # Calls.

    async def carry_out(self, replica: str, order: CallOrder) -> CallOutcome:
        """The outcome of a try; a replica that is gone, or unknown, gives a failure."""
        self._alias_of[order.key] = order.alias
        try:
            outcome = await self._carry(replica, order)
        finally:
            self._alias_of.pop(order.key, None)
        supervisor = self._supervisors.get(replica)
        failure = outcome.failure
        if supervisor and failure and failure.failure_class is FailureClass.BACKEND_UNREACHABLE:
            await supervisor.look()
        return outcome if failure is None else await self._with_evidence(outcome, replica, order)

    async def _with_evidence(
        self, outcome: CallOutcome, replica: str, order: CallOrder
    ) -> CallOutcome:
        """The outcome of a failed try with what can only be seen now (`actors.probe`)."""
        supervisor, failure = self._supervisors.get(replica), outcome.failure
        if supervisor is None or failure is None or failure.failure_class not in PROBED:
            return outcome
        pool = supervisor.pool
        seen: dict[str, JsonScalar] = {
            "queued": self._dispatcher.queued(pool),
            "in_flight": self._dispatcher.in_flight(pool, replica),
            "max_tokens": order.request.sampling.max_tokens,
            "deadline_s": order.deadlines.total_s,
        }
        seen |= await probe_replica(supervisor.handle)
        if failure.failure_class is FailureClass.BACKEND_UNREACHABLE:
            seen |= await probe_node(supervisor.view().node)
        return replace(outcome, failure=replace(failure, evidence=seen | failure.evidence))

    async def _carry(self, replica: str, order: CallOrder) -> CallOutcome:
        if order.workspace and order.output_file is not None:
            await self._workbench.ensure_workspace(order.workspace)
        if self._held.get(order.key) == WORKBENCH or replica in self._remote:
            return await self._carry_beside(replica, order)
        supervisor = self._supervisors.get(replica)
        if supervisor is None:
            return lost_outcome(
                order.key,
                FailureClass.BACKEND_UNREACHABLE,
                f"replica {replica} is not in the configuration any more",
            )
        return await supervisor.carry_out(order)

    async def _carry_beside(self, replica: str, order: CallOrder) -> CallOutcome:
        supervisor = self._supervisors.get(replica)
        handle = None if supervisor is None else supervisor.handle
        outcome = await self._workbench.carry_out(order, replica, handle)
        if outcome is None:
            await self._abort(replica, order.key)
            return lost_outcome(
                order.key, FailureClass.WORKBENCH_LOST, "the workbench that carried it out is gone"
            )
        return outcome

    async def holder(self, key: CallKey, replica: str) -> str | None:
        """Who holds a try of an earlier orchestrator. When nobody does, `replica` can begin it
        afterwards: nothing is left of it there, and the replica was given time to be ready."""
        if key in self._held:
            return self._held[key]
        supervisor = self._supervisors.get(replica)
        if supervisor is not None:
            await self._abort(replica, key)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await self._settled[replica].wait()
        return None

    async def _abort(self, replica: str, key: CallKey) -> None:
        """Free what the stream of a lost workbench still holds in the replica's engine."""
        supervisor = self._supervisors.get(replica)
        if supervisor is not None and supervisor.handle is not None:
            with contextlib.suppress(RayError, TimeoutError):
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await supervisor.handle.abort.remote(str(key))

    def forget(self, replica: str, key: CallKey) -> None:
        usual = WORKBENCH if replica in self._remote else replica
        self._committed[self._held.pop(key, usual)].append(key)

    async def cancel(self, replica: str, key: CallKey) -> None:
        supervisor = self._supervisors.get(replica)
        handles = [self._workbench.handle, supervisor.handle if supervisor else None]
        for handle in filter(None, handles):
            with contextlib.suppress(RayError, TimeoutError):
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await handle.cancel.remote(key)

    # Files.

    async def publish(self, publication: Publication) -> Published:
        """Publish through a workbench that may be restarting. Raises `CallError`, `StaleEpoch`."""
        return await self._workbench.publish(publication)

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
            if not any(s.state == "ready" for s in members):
                states = "; ".join(f"{s.replica} {s.state}: {s.detail}" for s in members)
                reasons.append(f"Pool {pool} has no ready replica ({states}).")
        return reasons

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
        """Asked of every holder at once; who does not answer is left out."""
        asked = {
            s.replica: s.read_progress() for s in self._supervisors.values() if s.state == "ready"
        }
        if self._remote:
            asked[WORKBENCH] = self._workbench.handle.progress.remote()
        answers = await asyncio.gather(*asked.values(), return_exceptions=True)
        return tuple(
            CallProgress(
                call=key.call_id,
                attempt=key.attempt,
                alias=self._alias_of.get(key, ""),
                replica=name,
                tokens=seen.tokens,
                tokens_per_s=seen.tokens_per_s,
            )
            for name, answer in zip(asked, answers, strict=True)
            if not isinstance(answer, BaseException)
            for key, seen in answer.items()
            if key.run_id == run_id
        )

    # Life.

    def _changed(self, view: ReplicaView) -> None:
        log.info("replica %s is %s %s", view.replica, view.state, view.detail)
        if view.state == "ready":
            self._tasks.spawn(self._became_ready(view))
        else:
            self._settled[view.replica].clear()
            self._dispatcher.replica_changed(view)

    async def _became_ready(self, view: ReplicaView) -> None:
        """Before its first call: fence it with our epoch, and see where its calls are carried
        out."""
        supervisor = self._supervisors[view.replica]
        handle = supervisor.handle
        await self._ask_held(view.replica, handle)
        wish = self._config.pools[view.pool].workbench
        beside = wish == "node"
        if wish == "auto" and handle is not None:
            with contextlib.suppress(RayActorError, RayTaskError):
                beside = not await handle.sees.remote(self._root, self._workbench.mark)
        (self._remote.add if beside else self._remote.discard)(view.replica)
        if supervisor.state == "ready":
            self._settled[view.replica].set()
            self._dispatcher.replica_changed(view)

    async def _place(self) -> None:
        while True:
            try:
                placements = await asyncio.to_thread(
                    reserve, self._config.deployment, replicas_of(self._config)
                )
                break
            except ClusterError as error:
                self._place_error = str(error)
                log.error("placement: %s", error)
                await asyncio.sleep(PLACE_PAUSE_S)
        self._place_error = ""
        self._keep(placements)

    def _keep(self, placements: dict[str, Placement]) -> None:
        for name, placement in placements.items():
            self._tasks.spawn(self._supervisors[name].keep(placement))

    async def _ask_held(self, name: str, handle: Any) -> None:
        """Which tries does it hold? The question carries our epoch, which fences off an older
        one."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                for key, _ in await handle.held.remote(self._epoch):
                    self._held[key] = name
        except (RayActorError, TimeoutError, AttributeError) as error:
            log.warning("%s does not say what it holds: %s", name, error)

    async def _release_committed(self) -> None:
        """Tell holders, now and then, which outcomes they may forget."""
        while True:
            await asyncio.sleep(RELEASE_PAUSE_S)
            batches, self._committed = self._committed, defaultdict(list)
            for name, keys in batches.items():
                handle = (
                    self._workbench.handle
                    if name == WORKBENCH
                    else getattr(self._supervisors.get(name), "handle", None)
                )
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
        for actor in ray.util.list_named_actors(all_namespaces=True):
            name = actor["name"]
            if actor["namespace"] != self._namespace or not name.startswith(REPLICA_PREFIX):
                continue
            handle = None if name in wanted else find_actor(name, self._namespace)
            if handle is not None:
                log.info("%s is not in the configuration any more; it is ended", name)
                end_actor(handle, name, self._namespace)
