"""Replicas sit on the devices that the config names: real groups on a real Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from cluster import groups
from cluster.inventory import CoreSet, Gpu, survey, usable_cores
from cluster.local import LocalCluster
from cluster.placement import Placement, Reconciled, Reconciler, release
from familiar.config.schema import NodeSelector, ReplicaConfig
from tests.cluster.second_node import second_node

pytestmark = pytest.mark.ray

FOUR = {
    "naughty:0": ReplicaConfig(gpus=[1]),
    "naughty:1": ReplicaConfig(gpus=[3]),
    "orchestrator:0": ReplicaConfig(gpus=[0]),
    "orchestrator:1": ReplicaConfig(gpus=[2]),
}


LABELS = {"gpu-host": "b"}
ON_B = NodeSelector(labels=dict(LABELS))
WISH = {
    "here:0": ReplicaConfig(gpus=[2], node=NodeSelector(labels={"gpu-host": "a"})),
    "p:0": ReplicaConfig(gpus=[1], node=ON_B),
    "p:1": ReplicaConfig(gpus=[3], node=ON_B),
}
PATIENCE_S = 60.0


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
def released(shared_ray: LocalCluster) -> Iterator[None]:
    yield
    for deployment in {group.deployment for group in groups.reservations()}:
        release(deployment)


def reserve(deployment: str, replicas: Mapping[str, ReplicaConfig]) -> Mapping[str, Placement]:
    """The placements of a deployment, once all are there."""
    reconciler = Reconciler(deployment)
    deadline = time.monotonic() + PATIENCE_S
    while (found := reconciler.reconcile(replicas)).missing:
        assert time.monotonic() < deadline, found.missing
        time.sleep(0.2)
    return found.placements


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


def test_the_inventory_knows_labels_logical_gpus_and_cores(shared_ray: LocalCluster) -> None:
    (node,), silent = survey({}, timeout_s=PATIENCE_S)
    assert silent == {}
    assert node.has_labels({"gpu-host": "a"})
    assert node.gpus == tuple(Gpu(index) for index in range(4))
    assert node.cores == usable_cores()
    assert (node.cpus, node.gpu_slots, node.is_here) == (4.0, 4, True)


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


def test_reservations_outlive_their_maker_and_are_adopted_by_name(shared_ray: LocalCluster) -> None:
    maker = in_another_process(
        shared_ray,
        "from cluster.placement import Reconciler\n"
        "from familiar.config.schema import ReplicaConfig as R\n"
        "wish = {'naughty:0': R(gpus=[3]), 'c:0': R(cores=[1])}\n"
        "assert not Reconciler('dep').reconcile(wish).missing",
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


def test_a_search_that_is_killed_leaves_no_gpu_taken(shared_ray: LocalCluster) -> None:
    searcher = in_another_process(
        shared_ray,
        "import ray\nfrom cluster import groups\n"
        "node_id = ray.nodes()[0]['NodeID']\n"
        "made = [groups.create('', node_id, {'GPU': 1.0}, detached=False) for _ in range(4)]\n"
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


def test_cpus_that_something_else_uses_are_rejected_and_nothing_is_left() -> None:
    busy = ray.remote(num_cpus=4)(Engine).remote()
    ray.get(busy.seen.remote())
    found = Reconciler("dep").reconcile({"smol:0": ReplicaConfig(cores=[0])})
    assert "not enough of them are free" in found.missing["smol:0"]
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


# -- nodes and devices that come and go ---------------------------------------------------------


def gpu_of(placement: Placement) -> list[str]:
    """The GPU that Ray gives an actor of this placement."""
    seen = ray.remote(max_calls=0)(lambda: ray.get_runtime_context().get_accelerator_ids()["GPU"])
    found: list[str] = ray.get(seen.options(**placement.options()).remote(), timeout=60)
    return found


def until(reconciler: Reconciler, holds: Callable[[Reconciled], bool]) -> Reconciled:
    deadline = time.monotonic() + PATIENCE_S
    while not holds(found := reconciler.reconcile(WISH)):
        assert time.monotonic() < deadline, found.missing
        time.sleep(0.2)
    return found


def lose_and_join(cluster: LocalCluster, rounds: int, tell: Callable[[str], None]) -> None:
    reconciler = Reconciler("dep")
    before: Reconciled | None = None
    took = []
    for _ in range(rounds):
        with second_node(cluster, LABELS, gpus=4):
            joined = time.monotonic()
            found = until(reconciler, lambda now: not now.missing)
            took.append(time.monotonic() - joined)
            assert {key: gpu_of(found.placements[key]) for key in ("p:0", "p:1")} == {
                "p:0": ["1"],
                "p:1": ["3"],
            }
            if before is not None:
                assert found.placements["here:0"] == before.placements["here:0"]
                assert found.placements["p:0"].node_id != before.placements["p:0"].node_id
            before = found
        lost = until(reconciler, lambda now: set(now.placements) == {"here:0"})
        assert "wants a node with labels {'gpu-host': 'b'}" in lost.missing["p:0"]
        assert [group.replica_id for group in groups.reservations()] == ["here:0"]
    tell(f"{rounds} joins: all replicas placed {max(took):.1f} s after the join at most")


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(10, marks=pytest.mark.soak)], ids=["twice", "ten-times"]
)
def test_a_lost_node_comes_back(
    shared_ray: LocalCluster, tell: Callable[[str], None], rounds: int
) -> None:
    lose_and_join(shared_ray, rounds, tell)


def test_looking_again_changes_nothing(
    shared_ray: LocalCluster, tell: Callable[[str], None]
) -> None:
    reconciler = Reconciler("dep")
    wish = {key: WISH[key] for key in ("here:0",)}
    first = reconciler.reconcile(wish)
    took = []
    for _ in range(20):
        started = time.monotonic()
        assert reconciler.reconcile(wish) == first
        took.append(time.monotonic() - started)
    tell(f"reconcile when all is well: {statistics.median(took) * 1e3:.1f} ms")


def test_a_gpu_that_is_taken_holds_up_no_other_replica(shared_ray: LocalCluster) -> None:
    other = ray.remote(num_gpus=1, num_cpus=0)(Engine).remote()
    taken = int(ray.get(other.seen.remote())[0][0])
    wish = {f"p:{gpu}": ReplicaConfig(gpus=[gpu]) for gpu in range(4)}
    reconciler = Reconciler("dep")
    found = reconciler.reconcile(wish)
    assert found.missing.keys() == {f"p:{taken}"}
    assert "outside of familiar" in found.missing[f"p:{taken}"]
    assert found.placements.keys() == wish.keys() - found.missing.keys()
    ray.kill(other)
    wait_until(lambda: not reconciler.reconcile(wish).missing)


def test_a_gpu_of_another_deployment_is_not_taken() -> None:
    reserve("theirs", {"q:0": ReplicaConfig(gpus=[1])})
    found = Reconciler("dep").reconcile(FOUR)
    assert found.missing.keys() == {"naughty:0"}
    assert "gpu 1 is held by replica q:0 of deployment theirs" in found.missing["naughty:0"]
