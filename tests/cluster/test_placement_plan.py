"""Which reservations are released and made is decided from records alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cluster.groups import Group
from cluster.placement_plan import plan_placement
from familiar.config.schema import NodeSelector, ReplicaConfig
from tests.cluster.test_assignment import holding, node

LABELS = {"gpu-host": "b"}
WISH = {f"p:{i}": ReplicaConfig(gpus=[i], node=NodeSelector(labels=dict(LABELS))) for i in range(2)}


def groups_on(name: str, count: int = 2) -> list[Group]:
    return [holding("mine", f"p:{i}", f"gpu:{i}", name) for i in range(count)]


def names(groups: list[Group]) -> set[str]:
    return {group.name for group in groups}


def test_when_all_is_well_nothing_is_released_or_made() -> None:
    plan = plan_placement("mine", WISH, [node("b", labels=LABELS)], groups_on("b"))
    assert plan.changes_nothing
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
    assert plan.changes_nothing
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
    assert again.changes_nothing
    assert again.assignments == plan.assignments


def test_an_empty_cluster_is_a_reason_for_every_replica() -> None:
    missing: Mapping[str, str] = plan_placement("mine", WISH, [], []).missing
    assert "there is no node at all" in missing["p:0"]
