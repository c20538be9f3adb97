"""Which reservations to release and which to make, from nodes, groups and a configuration. Pure.

A group is kept while it is placed on the node to which its replica is assigned; every other group
of the deployment is released, one on a dead node first of all, since Ray would keep it waiting for
a node id that never comes back. A node that is alive but has not said which devices it has is
*silent*: groups on it are left alone, because the replicas in them may be well, and those replicas
go to no other node meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cluster.assignment import Assignment, assign, device_key
from cluster.groups import Group, group_name
from cluster.inventory import Device, Node
from familiar.config.schema import ReplicaConfig


@dataclass(frozen=True, slots=True)
class PlacementPlan:
    """What to do. `kept` and `create` are keyed by the name of a group, `missing` by replica."""

    assignments: Mapping[str, Assignment]
    missing: Mapping[str, str]
    kept: Mapping[str, str]
    release: tuple[str, ...]
    create: Mapping[str, tuple[Assignment, Device]]

    @property
    def changes_nothing(self) -> bool:
        return not (self.release or self.create)


def plan_placement(
    deployment: str,
    replicas: Mapping[str, ReplicaConfig],
    nodes: Sequence[Node],
    held: Collection[Group],
    *,
    silent: Mapping[str, str] | None = None,
    settled: Mapping[str, str] | None = None,
) -> PlacementPlan:
    """`silent` maps the id of a node that did not answer to the reason; for `settled` see
    `assign`."""
    silent = silent or {}
    own = [group for group in held if group.deployment == deployment]
    waiting = {
        group.replica_id: silent[group.node_id]
        for group in own
        if group.node_id in silent and group.replica_id in replicas
    }
    assignable = {key: replica for key, replica in replicas.items() if key not in waiting}
    assignments, problems = assign(deployment, assignable, nodes, held, settled)
    wanted = {
        group_name(deployment, assignment.replica_id, device_key(device)): (assignment, device)
        for assignment in assignments.values()
        for device in assignment.devices
    }
    kept = {
        group.name: group.group_id
        for group in own
        if group.name in wanted and _is_sound(group, wanted[group.name][0])
    }
    return PlacementPlan(
        assignments=assignments,
        missing={
            **problems,
            **{key: f"Replica {key} waits for its node: {why}" for key, why in waiting.items()},
        },
        kept=kept,
        release=tuple(
            group.group_id
            for group in own
            if group.group_id not in kept.values() and group.replica_id not in waiting
        ),
        create={name: wish for name, wish in wanted.items() if name not in kept},
    )


def _is_sound(group: Group, assignment: Assignment) -> bool:
    return group.state == "CREATED" and group.node_id == assignment.node.node_id
