"""End a deployment: its actors, and its hold of the devices. Open runs stay open in the database.

Actors are found by their names and not by a configuration, so those of an earlier configuration end
as well. All functions block.
"""

from __future__ import annotations

import contextlib

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from actors.replica.supervisor import REPLICA_PREFIX
from actors.workspace.actor import WORKSPACE
from cluster.named_actor import end_actor, find_actor, list_actors
from cluster.placement import release
from familiar.service import ORCHESTRATOR, namespace_of

ANSWER_S = 60.0
STOP_S = 20.0
"""How long engines have for an orderly end."""


def take_down(deployment: str) -> bool:
    """End everything of a deployment in the Ray that is connected; False if nothing was there."""
    namespace = namespace_of(deployment)
    orchestrator = find_actor(ORCHESTRATOR, namespace)
    if orchestrator is not None:
        with contextlib.suppress(RayActorError, RayTaskError, GetTimeoutError):
            ray.get(orchestrator.close.remote(), timeout=ANSWER_S)
        end_actor(orchestrator, ORCHESTRATOR, namespace)
    return end_actors(deployment) or orchestrator is not None


def end_actors(deployment: str) -> bool:
    """The same for all but the orchestrator, which must have let go of them."""
    namespace = namespace_of(deployment)
    replicas = list_actors(namespace, REPLICA_PREFIX)
    stopping = [replica.stop.remote() for replica in replicas.values()]
    if stopping:
        ray.wait(stopping, num_returns=len(stopping), timeout=STOP_S)
    found = {**replicas, **list_actors(namespace, WORKSPACE)}
    for name, actor in found.items():
        end_actor(actor, name, namespace)
    release(deployment)
    return bool(found)
