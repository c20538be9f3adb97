"""Replicas and workspace processes as actors, and the questions that tests ask them."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import ray

from actors.replica.actor import ReplicaStatus, replica_class
from actors.workspace.actor import WorkspaceActor
from familiar.call import CallKey, CallOrder, CallOutcome, Deadlines
from familiar.config.schema import PoolConfig, ReplicaConfig
from familiar.engine import GenerateRequest, Message, Sampling


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
        replica_class()
        .options(num_cpus=0, max_concurrency=8192)
        .remote(pool="p", replica_id="p-0", config=config, replica=config.replicas[0], **kwargs)
    )
    actors.append(actor)
    return actor


def workspace_actor(actors: list[Any], **kwargs: Any) -> Any:
    options = {"num_cpus": 0, "max_concurrency": 1000, **kwargs.pop("options", {})}
    actor = ray.remote(WorkspaceActor).options(**options).remote(**kwargs)
    actors.append(actor)
    return actor


def order(
    call: str = "c",
    *,
    epoch: int = 1,
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
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in 30 s"
        time.sleep(0.05)


def attempted(actor: Any, *orders: CallOrder) -> list[CallOutcome]:
    """The outcomes of `orders`, which are sent at once."""
    return outcomes(*(sent(actor, order) for order in orders))


def sent(actor: Any, order: CallOrder) -> Any:
    """The answer to come, for `outcomes`."""
    return actor.attempt.remote(pickle.dumps(order))


def outcomes(*answers: Any) -> list[CallOutcome]:
    """Wait for answers to `sent`."""
    return [pickle.loads(answer) for answer in ray.get(list(answers))]


def status(actor: Any) -> ReplicaStatus:
    found: ReplicaStatus = ray.get(actor.status.remote())
    return found
