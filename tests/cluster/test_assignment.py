"""Which devices a replica gets is decided from records alone, and every refusal is explained."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from cluster.assignment import Assignment, assign, device_key
from cluster.groups import Group, group_name
from cluster.inventory import CoreSet, Gpu, Node
from familiar.config.schema import NodeSelector, ReplicaConfig


def node(
    name: str, *, gpus: int = 4, cpus: float = 4, labels: Mapping[str, str] | None = None
) -> Node:
    return Node(
        node_id=f"id-{name}",
        address="10.0.0.1",
        hostname=name,
        labels=labels or {},
        cpus=cpus,
        memory_bytes=0,
        gpu_slots=gpus,
        gpus=tuple(Gpu(index, uuid=f"GPU-{name}-{index}") for index in range(gpus)),
        cores=tuple(range(4)),
    )


def holding(deployment: str, replica_id: str, device: str, node_name: str = "a") -> Group:
    name = group_name(deployment, replica_id, device)
    return Group(group_id=name, name=name, state="CREATED", node_id=f"id-{node_name}")


def on(labels: Mapping[str, str]) -> NodeSelector:
    return NodeSelector(labels=dict(labels))


def assigned(
    replicas: Mapping[str, ReplicaConfig], nodes: list[Node], held: list[Group] | None = None
) -> dict[str, Assignment]:
    made, problems = assign("mine", replicas, nodes, held or [])
    assert problems == {}
    return made


def refusal(
    replicas: Mapping[str, ReplicaConfig], nodes: list[Node], held: list[Group] | None = None
) -> str:
    _, problems = assign("mine", replicas, nodes, held or [])
    assert problems
    return " ".join(problems.values())


@given(st.permutations(range(4)), st.integers(1, 4))
def test_each_replica_gets_exactly_the_gpus_it_names(order: list[int], count: int) -> None:
    replicas = {f"pool:{i}": ReplicaConfig(gpus=[gpu]) for i, gpu in enumerate(order[:count])}
    made = assigned(replicas, [node("a")], [])
    assert [made[f"pool:{i}"].devices for i in range(count)] == [
        (node("a").gpus[gpu],) for gpu in order[:count]
    ]


def test_a_uuid_means_the_same_gpu_as_its_index() -> None:
    made = assigned({"p:0": ReplicaConfig(gpus=["GPU-a-2"])}, [node("a")], [])
    assert device_key(made["p:0"].devices[0]) == "gpu:2"


def test_one_gpu_by_index_and_by_uuid_is_noticed() -> None:
    twice = {"p:0": ReplicaConfig(gpus=[2]), "q:0": ReplicaConfig(gpus=["GPU-a-2"])}
    assert "gpu GPU-a-2 is held by replica p:0" in refusal(twice, [node("a")])
    once = {"p:0": ReplicaConfig(gpus=[2, "GPU-a-2"])}
    assert "named twice, by index and by UUID" in refusal(once, [node("a")])


def test_labels_choose_the_node() -> None:
    nodes = [node("a", labels={"rack": "1"}), node("b", labels={"rack": "2", "x": "y"})]
    made = assigned({"p:0": ReplicaConfig(gpus=[0], node=on({"rack": "2"}))}, nodes, [])
    assert made["p:0"].node.hostname == "b"


def test_without_labels_the_first_node_with_the_devices_is_taken() -> None:
    made = assigned({"p:0": ReplicaConfig(gpus=[3])}, [node("a", gpus=2), node("b")], [])
    assert made["p:0"].node.hostname == "b"


def test_a_replica_stays_where_its_reservation_is() -> None:
    held = [holding("mine", "p:0", "gpu:1", "b")]
    made = assigned({"p:0": ReplicaConfig(gpus=[1])}, [node("a"), node("b")], held)
    assert made["p:0"].node.hostname == "b"


def test_a_url_goes_to_a_node_that_takes_work() -> None:
    head, worker = node("head", gpus=0, cpus=0), node("worker", gpus=0)
    made = assigned({"p:0": ReplicaConfig(url="http://x")}, [head, worker], [])
    assert (made["p:0"].node.hostname, made["p:0"].devices) == ("worker", ())


def test_cores_are_a_set_in_order() -> None:
    made = assigned({"p:0": ReplicaConfig(cores=[3, 1])}, [node("a")], [])
    assert made["p:0"].devices == (CoreSet((1, 3)),)


def test_own_reservations_are_no_obstacle_those_of_others_are() -> None:
    wish = {"p:0": ReplicaConfig(gpus=[1])}
    assert assigned(wish, [node("a")], [holding("mine", "q:3", "gpu:1")])
    told = refusal(wish, [node("a")], [holding("theirs", "q:3", "gpu:1")])
    assert "gpu 1 is held by replica q:3 of deployment theirs" in told


def test_cores_of_others_are_an_obstacle() -> None:
    told = refusal(
        {"p:0": ReplicaConfig(cores=[0, 1])}, [node("a")], [holding("theirs", "q:0", "cores:1,2")]
    )
    assert "core 1 is held by replica q:0 of deployment theirs" in told


def test_more_cores_than_ray_was_told_of_are_refused() -> None:
    wish = {"p:0": ReplicaConfig(cores=[0, 1]), "p:1": ReplicaConfig(cores=[2])}
    assert "Ray was told of 2 CPUs and 2 are booked" in refusal(wish, [node("a", cpus=2)])


def test_every_problem_is_told_at_once() -> None:
    told = refusal(
        {
            "p:0": ReplicaConfig(gpus=[7]),
            "p:1": ReplicaConfig(cores=[9]),
            "p:2": ReplicaConfig(gpus=[0], node=on({"rack": "3"})),
            "p:3": ReplicaConfig(gpus=[1]),
        },
        [node("a", labels={"rack": "1", "ray.io/node-id": "0f"})],
    )
    assert "Replica p:0 wants gpu 7" in told
    assert "there is no gpu 7 (gpus 0, 1, 2, 3)" in told
    assert "there is no core 9 (cores 0, 1, 2, 3)" in told
    assert "Replica p:2 wants a node with labels {'rack': '3'}" in told
    assert "node a (10.0.0.1, labels {'rack': '1'})" in told
    assert "p:3" not in told
