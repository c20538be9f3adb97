"""Bring a deployment up on the Ray that this process is connected to.

`ensure_deployment` is idempotent: it finds the orchestrator by name, keeps it when its fingerprint
is still right, and otherwise replaces it. Replicas and workspaces outlive the orchestrator; the
new one adopts those whose own fingerprint did not change. All functions block: they are for entry
points and threads.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.fingerprint import deployment_fingerprint
from actors.orchestrator.actor import Orchestrator
from cluster.named_actor import ensure_actor, find_actor, pack
from familiar.config.schema import Config, NodeSelector
from familiar.errors import ClusterError
from familiar.service import ORCHESTRATOR, namespace_of

ANSWER_S = 60.0


def ensure_deployment(config: Config, *, shared: bool = False) -> Any:
    """The handle of the deployment's orchestrator. Raises `ClusterError`, `StoreError`.

    A `shared` deployment ends with its last user (`actors.users`); another one with its Ray, or by
    `take_down`.
    """
    namespace = namespace_of(config.deployment)
    fingerprint = deployment_fingerprint(config)
    known = find_orchestrator(config.deployment)
    # Used where `known` has to go: the database may be its own still.
    predecessor = "" if known is None else known._actor_id.hex()
    return ensure_actor(
        Orchestrator,
        name=ORCHESTRATOR,
        namespace=namespace,
        fingerprint=fingerprint,
        options={
            "num_cpus": 0,
            "max_restarts": -1,
            "max_concurrency": 4096,
            **_on(config.cluster.orchestrator_node),
        },
        arguments=(fingerprint, predecessor, shared, *pack(config)),
        answer_s=ANSWER_S,
    )


def find_orchestrator(deployment: str) -> Any | None:
    return find_actor(ORCHESTRATOR, namespace_of(deployment))


def wait_ready(orchestrator: Any, *, timeout_s: float, report: Any = None) -> None:
    """Wait until runs can be worked on; `report` is called with the reasons while they cannot.

    Raises `ClusterError` with the last reasons when the time is over, or at once when they will not
    go away.
    """
    deadline = time.monotonic() + timeout_s
    reasons: tuple[str, ...] = ("The orchestrator does not answer.",)
    while time.monotonic() < deadline:
        with contextlib.suppress(RayActorError, ray.exceptions.GetTimeoutError):
            readiness = ray.get(orchestrator.readiness.remote(), timeout=ANSWER_S)
            if readiness.ready:
                if readiness.reasons and report is not None:
                    report(readiness.reasons)
                return
            reasons = readiness.reasons
            if readiness.hopeless:
                raise ClusterError(
                    f"The deployment cannot become ready. {' '.join(reasons)}",
                    remedy="Correct the problems above, or remove the pool from the configuration.",
                )
        if report is not None:
            report(reasons)
        time.sleep(0.5)
    raise ClusterError(
        f"The deployment is not ready after {timeout_s:g} s. {' '.join(reasons)}",
        remedy="`familiar doctor` looks for what is missing.",
    )


def _on(selector: NodeSelector) -> dict[str, Any]:
    """The selected node; without a selector this one, whose file system a database in a file and
    the configuration's paths are of."""
    if selector.labels:
        return {"label_selector": dict(selector.labels)}
    here = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=True)}
