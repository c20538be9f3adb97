"""A lost node's replicas come back on the node that joins in its place: real raylets."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest
import ray

from cluster import groups
from cluster.local import LocalCluster
from cluster.placement import Placement, release
from cluster.reconcile import Reconciled, Reconciler
from familiar.config.schema import NodeSelector, ReplicaConfig
from tests.cluster.second_node import second_node

pytestmark = pytest.mark.ray

LABELS = {"gpu-host": "b"}
ON_B = NodeSelector(labels=dict(LABELS))
WISH = {
    "here:0": ReplicaConfig(gpus=[2], node=NodeSelector(labels={"gpu-host": "a"})),
    "p:0": ReplicaConfig(gpus=[1], node=ON_B),
    "p:1": ReplicaConfig(gpus=[3], node=ON_B),
}
JOIN_S = 15.0
NOTICE_S = 60.0


@pytest.fixture(autouse=True)
def released(four_gpus: LocalCluster) -> Iterator[None]:
    yield
    for deployment in {group.deployment for group in groups.reservations()}:
        release(deployment)


def gpu_of(placement: Placement) -> list[str]:
    """The GPU that Ray gives an actor of this placement."""
    seen = ray.remote(max_calls=0)(lambda: ray.get_runtime_context().get_accelerator_ids()["GPU"])
    found: list[str] = ray.get(seen.options(**placement.options()).remote(), timeout=60)
    return found


def until(
    reconciler: Reconciler, holds: Callable[[Reconciled], bool], within_s: float
) -> Reconciled:
    deadline = time.monotonic() + within_s
    while not holds(found := reconciler.reconcile(WISH)):
        assert time.monotonic() < deadline, found.missing
        time.sleep(0.2)
    return found


def lose_and_join(cluster: LocalCluster, rounds: int) -> None:
    reconciler = Reconciler("dep")
    before: Reconciled | None = None
    for _ in range(rounds):
        joined = time.monotonic()
        with second_node(cluster, LABELS, gpus=4):
            found = until(reconciler, lambda now: not now.missing, JOIN_S)
            assert time.monotonic() - joined < JOIN_S + NOTICE_S
            assert {key: gpu_of(found.placements[key]) for key in ("p:0", "p:1")} == {
                "p:0": ["1"],
                "p:1": ["3"],
            }
            if before is not None:
                assert found.placements["here:0"] == before.placements["here:0"]
                assert found.placements["p:0"].node_id != before.placements["p:0"].node_id
            before = found
        lost = until(reconciler, lambda now: set(now.placements) == {"here:0"}, NOTICE_S)
        assert "wants a node with labels {'gpu-host': 'b'}" in lost.missing["p:0"]
        assert [group.replica_id for group in groups.reservations()] == ["here:0"]


def test_a_lost_node_comes_back_three_times(four_gpus: LocalCluster) -> None:
    lose_and_join(four_gpus, 3)


@pytest.mark.soak
def test_a_lost_node_comes_back_ten_times(four_gpus: LocalCluster) -> None:
    lose_and_join(four_gpus, 10)


def test_looking_again_changes_nothing(
    four_gpus: LocalCluster, tell: Callable[[str], None]
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


def test_a_successor_of_the_reconciler_adopts_what_is_there(four_gpus: LocalCluster) -> None:
    wish = {key: WISH[key] for key in ("here:0",)}
    assert Reconciler("dep").reconcile(wish) == Reconciler("dep").reconcile(wish)


def test_a_gpu_that_is_taken_holds_up_no_other_replica(four_gpus: LocalCluster) -> None:
    other = ray.remote(num_gpus=1, num_cpus=0)(Holder).remote()
    taken = int(ray.get(other.gpu.remote()))
    wish = {f"p:{gpu}": ReplicaConfig(gpus=[gpu]) for gpu in range(4)}
    reconciler = Reconciler("dep")
    found = reconciler.reconcile(wish)
    assert found.missing.keys() == {f"p:{taken}"}
    assert "not of familiar" in found.missing[f"p:{taken}"]
    assert found.placements.keys() == wish.keys() - found.missing.keys()
    ray.kill(other)
    deadline = time.monotonic() + NOTICE_S
    while reconciler.reconcile(wish).missing:
        assert time.monotonic() < deadline
        time.sleep(0.5)


class Holder:
    def gpu(self) -> str:
        return str(ray.get_runtime_context().get_accelerator_ids()["GPU"][0])
