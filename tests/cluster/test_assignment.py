"""Which devices a replica gets, and which reservations follow, is decided from records alone; every
rejection is explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cluster.assignment import Assignment, assign, device_key, plan_placement
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


def test_more_cores_than_ray_was_told_of_are_rejected() -> None:
    wish = {"p:0": ReplicaConfig(cores=[0, 1]), "p:1": ReplicaConfig(cores=[2])}
    assert "Ray has 2 CPUs there and 2 are reserved" in refusal(wish, [node("a", cpus=2)])


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


# -- which reservations follow -------------------------------------------------------------------

LABELS = {"gpu-host": "b"}
WISH = {f"p:{i}": ReplicaConfig(gpus=[i], node=NodeSelector(labels=dict(LABELS))) for i in range(2)}


def groups_on(name: str, count: int = 2) -> list[Group]:
    return [holding("mine", f"p:{i}", f"gpu:{i}", name) for i in range(count)]


def names(groups: list[Group]) -> set[str]:
    return {group.name for group in groups}


def test_when_all_is_well_nothing_is_released_or_made() -> None:
    plan = plan_placement("mine", WISH, [node("b", labels=LABELS)], groups_on("b"))
    assert (plan.release, plan.create) == ((), {})
    assert (plan.missing, set(plan.kept)) == ({}, names(groups_on("b")))


def test_groups_on_a_dead_node_are_released_and_their_replicas_are_missing() -> None:
    lost = [replace(group, state="RESCHEDULING") for group in groups_on("b")]
    plan = plan_placement("mine", WISH, [node("a")], lost)
    assert set(plan.release) == {group.group_id for group in lost}
    assert plan.create == {}
    assert plan.missing.keys() == WISH.keys()
    assert "wants a node with labels {'gpu-host': 'b'}" in plan.missing["p:0"]


def test_a_group_that_says_it_is_placed_on_a_dead_node_is_released_too() -> None:
    plan = plan_placement("mine", WISH, [node("a")], groups_on("b"))
    assert len(plan.release) == 2


def test_a_node_with_the_same_labels_and_another_id_is_taken() -> None:
    successor = replace(node("b", labels=LABELS), node_id="id-new")
    plan = plan_placement("mine", WISH, [node("a"), successor], groups_on("b"))
    assert len(plan.release) == 2
    assert set(plan.create) == names(groups_on("b"))
    assert {a.node.node_id for a, _ in plan.create.values()} == {"id-new"}
    assert plan.missing == {}


def test_a_lost_node_touches_no_replica_elsewhere() -> None:
    wish = {**WISH, "q:0": ReplicaConfig(gpus=[3])}
    here = holding("mine", "q:0", "gpu:3", "a")
    plan = plan_placement("mine", wish, [node("a")], [*groups_on("b"), here])
    assert (set(plan.kept), set(plan.assignments)) == ({here.name}, {"q:0"})


def test_a_node_that_does_not_answer_keeps_its_groups_and_its_replicas() -> None:
    other = node("c", labels=LABELS)
    plan = plan_placement(
        "mine", WISH, [other], groups_on("b"), silent={"id-b": "Node b did not answer."}
    )
    assert (plan.release, plan.create) == ((), {})
    assert "Node b did not answer." in plan.missing["p:1"]


def test_a_group_that_the_configuration_no_longer_names_is_released() -> None:
    old = holding("mine", "q:0", "gpu:3", "b")
    plan = plan_placement("mine", WISH, [node("b", labels=LABELS)], [*groups_on("b"), old])
    assert plan.release == (old.group_id,)


def test_a_replica_without_devices_stays_when_a_node_joins() -> None:
    wish = {"u:0": ReplicaConfig(url="http://x")}
    nodes = [node("a"), node("b")]
    assert plan_placement("mine", wish, nodes, []).assignments["u:0"].node.hostname == "a"
    plan = plan_placement("mine", wish, nodes, [], settled={"u:0": "id-b"})
    assert plan.assignments["u:0"].node.hostname == "b"


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), unique=True),
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["CREATED", "PENDING", "RESCHEDULING"]),
        ),
        unique_by=lambda held: held[0],
    ),
    st.sets(st.integers(0, 3)),
)
def test_the_outcome_of_a_plan_changes_nothing_any_more(
    alive: list[str], held: list[tuple[int, str, str]], wanted: set[int]
) -> None:
    nodes = [node(name) for name in alive]
    groups = [
        replace(holding("mine", f"p:{i}", f"gpu:{i}", name), state=state) for i, name, state in held
    ]
    wish = {f"p:{i}": ReplicaConfig(gpus=[i]) for i in wanted}
    plan = plan_placement("mine", wish, nodes, groups)
    assert plan.assignments.keys() | plan.missing.keys() == wish.keys()
    after = [group for group in groups if group.group_id not in plan.release]
    after += [
        Group(group_id=f"new {name}", name=name, state="CREATED", node_id=a.node.node_id)
        for name, (a, _) in plan.create.items()
    ]
    again = plan_placement("mine", wish, nodes, after)
    assert (again.release, again.create) == ((), {})
    assert again.assignments == plan.assignments


def test_an_empty_cluster_is_a_reason_for_every_replica() -> None:
    missing: Mapping[str, str] = plan_placement("mine", WISH, [], []).missing
    assert "there is no node at all" in missing["p:0"]
