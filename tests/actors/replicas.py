"""Replicas and workbenches as actors, and what tests ask of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray

from actors.replica.actor import Replica, ReplicaStatus
from actors.replica_client import ReplicaClient
from actors.workspace.actor import WorkbenchActor
from familiar.call import CallKey, CallOrder, CallOutcome, Deadlines
from familiar.config.schema import PoolConfig, ReplicaConfig
from familiar.engine import GenerateRequest, Message, Sampling

_ASKING = ThreadPoolExecutor(max_workers=8, thread_name_prefix="asking")


def replica(actors: list[Any], script: object = None, **kwargs: Any) -> Any:
    config = PoolConfig(
        engine="scripted",
        model="script",
        replicas=[ReplicaConfig()],
        engine_args={"script": script},
        context_length=200_000,
        health_interval_s=kwargs.pop("health_interval_s", 5.0),
    )
    actor = (
        ray.remote(Replica)
        .options(num_cpus=0, max_concurrency=1000)
        .remote(pool="p", replica_id="p-0", config=config, replica=config.replicas[0], **kwargs)
    )
    actors.append(actor)
    return actor


def workbench(actors: list[Any], **kwargs: Any) -> Any:
    options = {"num_cpus": 0, "max_concurrency": 1000, **kwargs.pop("options", {})}
    actor = ray.remote(WorkbenchActor).options(**options).remote(**kwargs)
    actors.append(actor)
    return actor


def order(
    call: str = "c",
    *,
    epoch: int = 1,
    workspace: Path | None = None,
    deadlines: Deadlines | None = None,
) -> CallOrder:
    key = CallKey("run", call, 1)
    return CallOrder(
        key=key,
        epoch=epoch,
        alias="grandpa",
        request=GenerateRequest(
            str(key), (Message("user", "Write."),), Sampling(max_tokens=100_000)
        ),
        deadlines=deadlines or Deadlines(30, 30, 60),
        mode="text" if workspace is None else "output_file",
        workspace="" if workspace is None else str(workspace),
        output_file=None if workspace is None else "page.html",
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in 30 s"
        time.sleep(0.05)


def sent(actor: Any, *orders: CallOrder) -> Future[list[CallOutcome]]:
    """Orders on their way, over a connection of their own; their outcomes in the same order."""
    return _ASKING.submit(lambda: asyncio.run(_ask(actor, orders)))


def carried(actor: Any, *orders: CallOrder) -> list[CallOutcome]:
    """The outcomes of `orders`."""
    return sent(actor, *orders).result()


async def _ask(actor: Any, orders: Sequence[CallOrder]) -> list[CallOutcome]:
    client = ReplicaClient(actor)
    try:
        return await asyncio.gather(*(client.carry_out(order) for order in orders))
    finally:
        client.close(ConnectionError("nobody asks any more"))


def status(actor: Any) -> ReplicaStatus:
    found: ReplicaStatus = ray.get(actor.status.remote())
    return found
