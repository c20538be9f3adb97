"""The workbench as an actor of its own, on the node with the workspace.

It carries out calls of replicas that do not see the workspace, by taking their stream through Ray,
and it publishes every file. As with replicas, the class is plain and its builder applies
`ray.remote`; it outlives the orchestrator, and its table of tries is how work is adopted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from actors.crash import CrashSpec, crasher
from actors.remote_error import as_engine_error
from actors.workbench import TryProgress, TryState, Workbench
from actors.workspace import Workspace
from cluster.named_actor import end_actor, find_actor
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published
from familiar.engine import Delta, GenerateRequest
from familiar.errors import EngineError

WORKBENCH = "workbench"
_ANSWER_S = 30.0


class WorkbenchActor:
    """See the module; the methods are those of `Workbench`."""

    def __init__(self, *, fingerprint: str = "", crash: CrashSpec | None = None) -> None:
        self._fingerprint = fingerprint
        # An actor's constructor is its entry point, so the environment is read here.
        self._workbench = Workbench(
            crasher(crash or CrashSpec.from_environment(os.environ), "workbench")
        )

    async def fingerprint(self) -> str:
        """What its builder made it from, to tell whether it is still the right one."""
        return self._fingerprint

    async def carry_out(self, order: CallOrder, replica_id: str, replica: Any) -> CallOutcome:
        """Carry out a try with the stream of `replica` (an actor handle; None when it is gone), or
        attach to it. Raises StaleEpoch only."""
        return await self._workbench.carry_out(
            order,
            lambda wanted: remote_stream(replica_id, replica, wanted.request),
            source_name=f"{replica_id} {order.alias}",
        )

    async def create_workspace(self, root: str) -> str:
        """Make the workspace and its repository; the token by which other nodes can tell that they
        see the same folder. Raises WorkspaceError."""
        await self._workbench.create_workspace(root)
        return await asyncio.to_thread(Workspace(root).mark)

    async def publish(self, publication: Publication) -> Published:
        """Raises StaleEpoch and WorkspaceError."""
        return await self._workbench.publish(publication)

    async def cancel(self, key: CallKey) -> bool:
        """Stop a try that is carried out here; whether there was one."""
        return await self._workbench.cancel(key)

    async def held(self, epoch: int | None = None) -> list[tuple[CallKey, TryState]]:
        """The tries in the table; `epoch` fences off older orchestrators."""
        return self._workbench.held(epoch)

    async def release(self, keys: Sequence[CallKey]) -> None:
        """Forget tries whose outcomes are committed."""
        self._workbench.release(keys)

    async def progress(self) -> dict[CallKey, TryProgress]:
        return self._workbench.progress()

    async def stop(self) -> None:
        """Cancel what is going on."""
        await self._workbench.cancel_all()


def get_workbench(namespace: str, fingerprint: str) -> Any:
    """The deployment's workbench on this node, the living one when it was made from `fingerprint`.
    Blocks."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    known = find_actor(WORKBENCH, namespace)
    # One that does not answer is being restarted by Ray, and is the same afterwards.
    with contextlib.suppress(RayError, GetTimeoutError):
        if known and ray.get(known.fingerprint.remote(), timeout=_ANSWER_S) != fingerprint:
            end_actor(known, WORKBENCH, namespace)
    here = ray.get_runtime_context().get_node_id()
    return (
        ray.remote(WorkbenchActor)
        .options(
            name=WORKBENCH,
            namespace=namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=4096,
            enable_task_events=False,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        .remote(fingerprint=fingerprint)
    )


async def remote_stream(
    replica_id: str, replica: Any, request: GenerateRequest
) -> AsyncIterator[Delta]:
    """A replica's stream through Ray. Closing it early cancels it there, which frees the engine.
    Raises EngineError."""
    if replica is None:
        raise EngineError(f"Replica {replica_id} is gone.", evidence={"replica": replica_id})
    stream = replica.stream.remote(request)
    ended = False
    try:
        async for reference in stream:
            delta: Delta = await reference
            ended = delta.finish_reason is not None
            yield delta
    except RayError as error:
        ended = True
        raise as_engine_error(error, replica_id) from None
    finally:
        if not ended:
            with contextlib.suppress(RayError):
                ray.cancel(stream)
