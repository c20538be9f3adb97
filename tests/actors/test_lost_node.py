"""A node is killed and another one joins in its place: the deployment says what is missing, and its
replicas are back on their named devices, with the same orchestrator. Real raylets."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

from cluster.local import LocalCluster
from familiar.service import PoolView, Readiness, ReplicaView
from tests.actors.deployment import Deployment, deployed, scripted_config, wait_for
from tests.cluster.second_node import second_node

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

HERE, THERE = {"gpu-host": "a"}, {"gpu-host": "b"}


def config_of(folder: Path) -> Any:
    config = scripted_config(folder)
    pools = config.model_dump(mode="json")["pools"]
    pools["near"]["replicas"] = [{"cores": [0], "node": {"labels": HERE}}]
    pools["far"]["replicas"] = [{"gpus": [gpu], "node": {"labels": THERE}} for gpu in (1, 3)]
    return scripted_config(folder, pools=pools, cluster={"orchestrator_node": {"labels": HERE}})


def far(deployment: Deployment) -> PoolView:
    pools: list[PoolView] = deployment.ask(deployment.orchestrator.pools.remote)
    return next(pool for pool in pools if pool.pool == "far")


def without_a_node(replica: ReplicaView) -> bool:
    return replica.state == "unplaced" and "gpu-host" in replica.detail


def readiness(deployment: Deployment) -> Readiness:
    found: Readiness = deployment.ask(deployment.orchestrator.readiness.remote)
    return found


def lose_and_join(cluster: LocalCluster, folder: Path, rounds: int) -> list[float]:
    """The seconds from each join until all replicas are ready on their devices."""
    took = []
    node = second_node(cluster, THERE, gpus=4)
    process = node.__enter__()
    try:
        with deployed(config_of(folder), folder) as deployment:
            pid = deployment.pid("orchestrator")
            for _ in range(rounds):
                process.kill()
                wait_for(lambda: not readiness(deployment).ready, "the loss to be noticed")
                # While Ray still counts the node as alive, the reason is that it gives no devices.
                wait_for(lambda: all(map(without_a_node, far(deployment).replicas)), "the reasons")
                assert "Pool far has no ready replica" in " ".join(readiness(deployment).reasons)
                node.__exit__(None, None, None)
                node = second_node(cluster, THERE, gpus=4)
                process = node.__enter__()
                joined = time.monotonic()
                wait_for(lambda: readiness(deployment).ready, "the deployment to be ready again")
                wait_for(
                    lambda: {replica.state for replica in far(deployment).replicas} == {"ready"},
                    "both replicas",
                )
                took.append(time.monotonic() - joined)
                devices = [replica.devices for replica in far(deployment).replicas]
                assert devices == [("gpu 1",), ("gpu 3",)]
                assert gpus_of(deployment) == ["1", "3"]
                assert deployment.pid("orchestrator") == pid
                run_id = deployment.submit()
                deployment.wait_ended([run_id])
                assert deployment.reader.run(run_id).status == "succeeded"
    finally:
        node.__exit__(None, None, None)
    return took


def gpus_of(deployment: Deployment) -> list[str]:
    """The GPUs that Ray gives the replicas' processes."""
    actors = [deployment.actor(f"replica:far:{index}") for index in (0, 1)]
    seen = [actor.__ray_call__.remote(_gpus) for actor in actors]
    return [gpu for found in ray.get(seen, timeout=60) for gpu in found]


def _gpus(_: object) -> list[str]:
    return [str(gpu) for gpu in ray.get_runtime_context().get_accelerator_ids()["GPU"]]


@pytest.mark.parametrize(
    "rounds", [1, pytest.param(10, marks=pytest.mark.soak)], ids=["once", "ten-times"]
)
def test_replicas_are_back_on_their_devices_soon_after_a_node_joined(
    shared_ray: LocalCluster, tmp_path: Path, tell: Callable[[str], None], rounds: int
) -> None:
    took = lose_and_join(shared_ray, tmp_path, rounds)
    tell(f"{rounds} joins, ready again after {', '.join(f'{s:.1f}' for s in took)} s")
