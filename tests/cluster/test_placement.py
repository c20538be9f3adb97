"""Replicas sit on the devices that the config names: real groups on a real Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from cluster import groups
from cluster.affinity import usable_cores
from cluster.inventory import CoreSet, Gpu, inventory
from cluster.local import LocalCluster
from cluster.placement import Placement, release, reserve
from familiar.config.schema import NodeSelector, ReplicaConfig
from familiar.errors import ClusterError
from tests.cluster.second_node import second_node

pytestmark = pytest.mark.ray

FOUR = {
    "naughty:0": ReplicaConfig(gpus=[1]),
    "naughty:1": ReplicaConfig(gpus=[3]),
    "orchestrator:0": ReplicaConfig(gpus=[0]),
    "orchestrator:1": ReplicaConfig(gpus=[2]),
}


class Engine:
    """What a replica sees of its devices."""

    def seen(self) -> tuple[list[str], dict[str, str]]:
        return ray.get_runtime_context().get_accelerator_ids()["GPU"], dict(os.environ)


class Reserver:
    """An asyncio actor that reserves in a thread, as an orchestrator does."""

    async def ready(self) -> None:
        """The constructor is done."""

    async def reserve(self, deployment: str, replicas: Mapping[str, ReplicaConfig]) -> int:
        """Reserve, and count how often the event loop came round meanwhile."""
        reserving = asyncio.create_task(asyncio.to_thread(reserve, deployment, replicas))
        rounds = 0
        while not reserving.done():
            await asyncio.sleep(0.005)
            rounds += 1
        await reserving
        return rounds


@pytest.fixture(autouse=True)
def released(four_gpus: LocalCluster) -> Iterator[None]:
    yield
    for deployment in {group.deployment for group in groups.reservations()}:
        release(deployment)


def start(placement: Placement, env: Mapping[str, str] | None = None) -> Any:
    return ray.remote(Engine).options(**placement.options(env)).remote()


def wait_for_free_gpus(count: int) -> None:
    """Ray's own books say that `count` GPUs are in no group and no actor (they lag a little)."""
    wait_until(lambda: ray.available_resources().get("GPU", 0) == count)


def in_another_process(cluster: LocalCluster, code: str) -> subprocess.Popen[str]:
    """A second driver of the same Ray; it prints `ready` when `code` is done."""
    lines = (
        "import time\nfrom cluster.local import connect\n"
        f"connect({cluster.address!r}, namespace='tests')\n{code}\n"
        "print('ready', flush=True)\ntime.sleep(120)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", lines],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **cluster.environment()},
        cwd=Path(__file__).parent.parent.parent,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_inventory_knows_labels_logical_gpus_and_cores(four_gpus: LocalCluster) -> None:
    (node,) = inventory()
    assert node.has_labels({"gpu-host": "a"})
    assert node.gpus == tuple(Gpu(index) for index in range(4))
    assert node.cores == usable_cores()
    assert (node.cpus, node.gpu_slots, node.is_here) == (2.0, 4, True)


def test_replicas_see_the_gpus_that_the_config_names() -> None:
    placements = reserve("dep", FOUR)
    engines = {key: start(placement) for key, placement in placements.items()}
    for key, engine in engines.items():
        named = [str(gpu) for gpu in FOUR[key].gpus]
        ids, environment = ray.get(engine.seen.remote())
        assert (key, ids, environment["CUDA_VISIBLE_DEVICES"]) == (key, named, named[0])
        assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize("named", [[3], [2, 0], [1, 3], [3, 1], [3, 2, 1], [2, 3, 0, 1]])
def test_ray_agrees_with_the_name_of_every_group_whatever_the_order(named: list[int]) -> None:
    replicas = {f"pool:{i}": ReplicaConfig(gpus=[gpu]) for i, gpu in enumerate(named)}
    placements = reserve("dep", replicas)
    seen = ray.remote(num_cpus=0, num_gpus=1, max_calls=0)(
        lambda: ray.get_runtime_context().get_accelerator_ids()["GPU"]
    )
    asked = [
        seen.options(
            scheduling_strategy=placements[replica_id].options()["scheduling_strategy"]
        ).remote()
        for replica_id in replicas
    ]
    assert ray.get(asked) == [[str(gpu)] for gpu in named]
    wait_for_free_gpus(4 - len(named))


def test_a_replica_on_several_gpus_holds_and_sees_them_all() -> None:
    placement = reserve("dep", {"tp:0": ReplicaConfig(gpus=[0, 2])})["tp:0"]
    ids, environment = ray.get(start(placement).seen.remote())
    assert ids == ["0"]
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,2"
    wait_for_free_gpus(2)


def test_reserving_again_changes_nothing() -> None:
    first = reserve("dep", FOUR)
    engine = start(first["naughty:1"])
    before = ray.get(engine.seen.remote())[0]
    assert reserve("dep", FOUR) == first
    assert ray.get(engine.seen.remote())[0] == before


def test_reservations_outlive_their_maker_and_are_adopted_by_name(four_gpus: LocalCluster) -> None:
    maker = in_another_process(
        four_gpus,
        "from cluster.placement import reserve\nfrom familiar.config.schema import ReplicaConfig\n"
        "reserve('dep', {'naughty:0': ReplicaConfig(gpus=[3]), 'c:0': ReplicaConfig(cores=[1])})",
    )
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    left = {group.name: group.group_id for group in groups.reservations()}
    assert set(left) == {"dep/naughty:0/gpu:3", "dep/c:0/cores:1"}
    adopted = reserve(
        "dep", {"naughty:0": ReplicaConfig(gpus=[3]), "c:0": ReplicaConfig(cores=[1])}
    )
    assert adopted["naughty:0"].group_ids == (left["dep/naughty:0/gpu:3"],)
    assert adopted["c:0"].group_ids == (left["dep/c:0/cores:1"],)


def test_a_search_that_is_killed_leaves_no_gpu_taken(four_gpus: LocalCluster) -> None:
    searcher = in_another_process(
        four_gpus,
        "from cluster import groups\nfrom cluster.inventory import inventory\n"
        "node = inventory()[0]\n"
        "made = [groups.create('', node.node_id, {'GPU': 1.0}, detached=False) for _ in range(4)]\n"
        "assert groups.wait_placed(made, 30) == set(made)",
    )
    wait_for_free_gpus(0)
    searcher.send_signal(signal.SIGKILL)
    searcher.wait()
    assert reserve("dep", FOUR).keys() == FOUR.keys()


def test_what_the_config_no_longer_names_is_released() -> None:
    first = reserve("dep", FOUR)
    moved = {"naughty:0": FOUR["naughty:0"], "naughty:1": ReplicaConfig(gpus=[2])}
    second = reserve("dep", moved)
    assert second["naughty:0"] == first["naughty:0"]
    assert [group.name for group in groups.reservations()] == [
        "dep/naughty:0/gpu:1",
        "dep/naughty:1/gpu:2",
    ]
    wait_for_free_gpus(2)


def test_a_gpu_of_another_deployment_is_refused_and_nothing_is_left() -> None:
    reserve("theirs", {"q:0": ReplicaConfig(gpus=[1])})
    with pytest.raises(ClusterError, match="gpu 1 is held by replica q:0 of deployment theirs"):
        reserve("dep", FOUR)
    assert [group.deployment for group in groups.reservations()] == ["theirs"]


def test_a_gpu_that_something_else_uses_is_refused_and_nothing_is_left() -> None:
    other = ray.remote(num_gpus=1, num_cpus=0)(Engine).remote()
    taken = int(ray.get(other.seen.remote())[0][0])
    wish = {"p:0": ReplicaConfig(gpus=[(taken + 1) % 4]), "p:1": ReplicaConfig(gpus=[taken])}
    with pytest.raises(ClusterError, match=f"gpu {taken}, .* not of familiar"):
        reserve("dep", wish, timeout_s=0.5)
    assert groups.reservations() == ()
    wait_for_free_gpus(3)
    ray.kill(other)


def test_cores_go_the_same_way() -> None:
    wish = {f"smol:{i}": ReplicaConfig(cores=[core]) for i, core in enumerate(usable_cores()[:2])}
    for replica_id, placement in reserve("dep", wish).items():
        (core,) = wish[replica_id].cores
        assert placement.devices == (CoreSet((core,)),)
        engine = start(placement, {"EXTRA": "1"})
        environment = ray.get(engine.seen.remote())[1]
        assert environment["VLLM_CPU_OMP_THREADS_BIND"] == str(core)
        assert environment["OMP_NUM_THREADS"] == "1"
        assert environment["EXTRA"] == "1"
        ray.kill(engine)


def test_cpus_that_something_else_uses_are_refused_and_nothing_is_left() -> None:
    busy = ray.remote(num_cpus=2)(Engine).remote()
    ray.get(busy.seen.remote())
    with pytest.raises(ClusterError, match="not enough of them are free"):
        reserve("dep", {"smol:0": ReplicaConfig(cores=[0])}, timeout_s=0.5)
    assert groups.reservations() == ()
    ray.kill(busy)


def test_a_url_has_a_node_and_no_group() -> None:
    placement = reserve("dep", {"grandpa:0": ReplicaConfig(url="http://127.0.0.1:1")})["grandpa:0"]
    assert (placement.group_ids, placement.devices) == ((), ())
    assert ray.get(start(placement).seen.remote())[0] == []


def test_release_is_for_the_named_replicas_or_for_all() -> None:
    reserve("dep", FOUR)
    release("dep", ["naughty:0"])
    assert [group.replica_id for group in groups.reservations()] == [
        "naughty:1",
        "orchestrator:0",
        "orchestrator:1",
    ]
    release("dep")
    release("dep")
    assert groups.reservations() == ()


def test_two_deployments_that_search_at_once_both_get_theirs() -> None:
    wishes = {
        "one": {f"p:{gpu}": ReplicaConfig(gpus=[gpu]) for gpu in (0, 3)},
        "two": {f"p:{gpu}": ReplicaConfig(gpus=[gpu]) for gpu in (1, 2)},
    }
    reservers = {deployment: ray.remote(num_cpus=0)(Reserver).remote() for deployment in wishes}
    ray.get([reserver.ready.remote() for reserver in reservers.values()])
    ray.get([reservers[key].reserve.remote(key, wish) for key, wish in wishes.items()])
    assert [group.name for group in groups.reservations()] == [
        f"{deployment}/{replica_id}/gpu:{replica.gpus[0]}"
        for deployment, wish in wishes.items()
        for replica_id, replica in wish.items()
    ]


def test_the_event_loop_of_an_actor_goes_on_while_it_reserves() -> None:
    reserver = ray.remote(num_cpus=0)(Reserver).remote()
    assert ray.get(reserver.reserve.remote("dep", FOUR)) > 5
    assert len(groups.reservations()) == 4


def test_a_lost_node_is_replaced_by_one_with_the_same_label(four_gpus: LocalCluster) -> None:
    wish = {"p:0": ReplicaConfig(gpus=[1], node=NodeSelector(labels={"gpu-host": "b"}))}
    with pytest.raises(ClusterError, match="wants a node with labels"):
        reserve("dep", wish)
    with second_node(four_gpus, {"gpu-host": "b"}, gpus=4):
        first = reserve("dep", wish)["p:0"]
        assert first.node_id != inventory()[0].node_id
    with second_node(four_gpus, {"gpu-host": "b"}, gpus=4):
        second = reserve("dep", wish)["p:0"]
        assert second.node_id not in {first.node_id, inventory()[0].node_id}
        assert ray.get(start(second).seen.remote())[0] == ["1"]
