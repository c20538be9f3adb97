"""The users of a deployment in a Ray that others share: jobs, `serve`, and replicas of the API.

A user is a named actor that Ray ends with the process that made it, also after `kill -9`. So the
users that Ray lists are alive, and no clock is involved. A shared deployment ends with its last
user: one that leaves asks the orchestrator to end (`Orchestrator.end_unused`), and for users that
were killed the orchestrator looks by itself, now and then.

A process becomes a user before it looks for the deployment, and the orchestrator decides to end
before it counts. So of two users that come and go at once, the one that comes either is counted or
finds an orchestrator that is ending, and replaces it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Literal

from cluster.named_actor import list_actors

Kind = Literal["job", "serve", "api"]
_PREFIX = "user:"
UNUSED_S = 60.0
"""How long a shared deployment may have no user: Serve may be restarting its API."""
LOOK_S = 5.0


class User:
    """A user for as long as this object is held, and until this process ends at the latest: Ray
    ends an actor that nobody holds. Needs a Ray connection."""

    def __init__(self, kind: Kind, namespace: str) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.name = f"{_PREFIX}{kind}:{uuid.uuid4().hex}"
        here = ray.get_runtime_context().get_node_id()
        # Its name is known at once; its process starts while this one goes on.
        self._actor = (
            ray.remote(_Holder)
            .options(
                name=self.name,
                namespace=namespace,
                num_cpus=0,
                max_restarts=-1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
            )
            .remote()
        )


def users(namespace: str, kind: Kind | None = None) -> set[str]:
    return set(list_actors(namespace, _PREFIX if kind is None else f"{_PREFIX}{kind}:"))


async def until_unused(namespace: str) -> None:
    """Return when the deployment has had no user for `UNUSED_S` seconds."""
    from ray.exceptions import RayError

    used = time.monotonic()
    while time.monotonic() - used < UNUSED_S:
        await asyncio.sleep(LOOK_S)
        with contextlib.suppress(RayError):
            if await asyncio.to_thread(users, namespace):
                used = time.monotonic()


class _Holder:
    """Does nothing; its life is that of the process that made it."""
