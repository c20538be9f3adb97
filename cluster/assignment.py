"""Decide which node and which devices each replica gets, and which reservations follow. Pure:
records in, records out.

A replica names devices and, by labels, a node. The first node that has the labels and all the
devices is taken; one on which the replica already holds a reservation comes first, so that a
restart adopts it. Every replica is looked at by itself, and a problem says which device was wanted,
which ones are there and which replica holds it. Whether Ray can really hand over a device is
found out afterwards, by `placement`.

A group is kept while it is placed on the node to which its replica is assigned; every other group
of the deployment is released, one on a dead node first of all, since Ray would keep it waiting for
a node id that never comes back. A node that is alive but has not said which devices it has is
*silent*: groups on it are left alone, because the replicas in them may be well, and those replicas
go to no other node meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cluster.groups import Group, group_name
from cluster.inventory import CoreSet, Device, Gpu, Node
from familiar.config.schema import Config, ReplicaConfig


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where one replica goes. No devices: the node is all that it needs."""

    replica_id: str
    node: Node
    devices: tuple[Device, ...]


def replicas_of(config: Config) -> dict[str, ReplicaConfig]:
    """Every replica of a deployment by its id, `pool:index`."""
    return {
        f"{name}:{index}": replica
        for name, pool in config.pools.items()
        for index, replica in enumerate(pool.replicas)
    }


def device_key(device: Device) -> str:
    """A device as a group's name has it: `gpu:1`, `cores:0,1`."""
    if isinstance(device, Gpu):
        return f"gpu:{device.index}"
    return f"cores:{','.join(map(str, device.cores))}"


def assign(
    deployment: str,
    replicas: Mapping[str, ReplicaConfig],
    nodes: Sequence[Node],
    held: Collection[Group],
    settled: Mapping[str, str] | None = None,
) -> tuple[dict[str, Assignment], dict[str, str]]:
    """An assignment for each replica that can have one, and the problem of each that cannot.

    `held` are the cluster's reservations. Those of this very deployment are no obstacle: the caller
    gives up the ones that the outcome does not contain. `settled` names the node on which a replica
    without devices runs already, so that a node that joins does not move it.
    """
    foreign = [group for group in held if group.deployment != deployment]
    own = {(group.replica_id, group.node_id) for group in held if group.deployment == deployment}
    own.update((settled or {}).items())
    made: dict[str, Assignment] = {}
    problems: dict[str, str] = {}
    for replica_id, replica in replicas.items():
        matching = [node for node in nodes if node.has_labels(replica.node.labels)]
        if not matching:
            there = "; ".join(map(str, nodes)) or "no node at all"
            problems[replica_id] = (
                f"Replica {replica_id} wants a node with labels {replica.node.labels}; "
                f"there is {there}."
            )
            continue
        # A node without CPUs (a KubeRay head) is kept free of work unless it is asked for.
        matching.sort(key=lambda n: ((replica_id, n.node_id) not in own, n.cpus == 0))
        rejections: list[str] = []
        for node in matching:
            obstacles = _obstacles(replica, node, foreign, made.values())
            if not obstacles:
                made[replica_id] = Assignment(replica_id, node, _devices(replica, node))
                break
            rejections.append(f"on {node}, {'; '.join(obstacles)}")
        else:
            problems[replica_id] = (
                f"Replica {replica_id} wants {_wish(replica)}, but {'; '.join(rejections)}."
            )
    return made, problems


def _obstacles(
    replica: ReplicaConfig, node: Node, foreign: Collection[Group], made: Collection[Assignment]
) -> list[str]:
    here = [group for group in foreign if group.node_id == node.node_id]
    placed = [other for other in made if other.node.node_id == node.node_id]
    if replica.gpus:
        return _gpu_obstacles(replica.gpus, node, here, placed)
    if replica.cores:
        return _core_obstacles(replica.cores, node, here, placed)
    return []


def _gpu_obstacles(
    names: Sequence[int | str], node: Node, here: Collection[Group], placed: Collection[Assignment]
) -> list[str]:
    holders = {group.device: str(group) for group in here}
    for other in placed:
        for device in other.devices:
            holders[device_key(device)] = f"replica {other.replica_id}"
    found: list[str] = []
    seen: set[str] = set()
    for name in names:
        gpu = node.gpu(name)
        if gpu is None:
            there = ", ".join(str(g.index) for g in node.gpus)
            found.append(f"there is no gpu {name} ({f'gpus {there}' if there else 'no GPUs'})")
        elif device_key(gpu) in holders:
            found.append(f"gpu {name} is held by {holders[device_key(gpu)]}")
        elif device_key(gpu) in seen:
            found.append(f"gpu {name} is named twice, by index and by UUID")
        else:
            seen.add(device_key(gpu))
    return found


def _core_obstacles(
    cores: Sequence[int], node: Node, here: Collection[Group], placed: Collection[Assignment]
) -> list[str]:
    holders = {core: str(group) for group in here for core in group.cores}
    booked = sum(len(group.cores) for group in here)
    for other in placed:
        for device in other.devices:
            if isinstance(device, CoreSet):
                booked += len(device.cores)
                holders.update(dict.fromkeys(device.cores, f"replica {other.replica_id}"))
    found: list[str] = []
    for core in cores:
        if core not in node.cores:
            found.append(f"there is no core {core} (cores {', '.join(map(str, node.cores))})")
        elif core in holders:
            found.append(f"core {core} is held by {holders[core]}")
    if not found and booked + len(cores) > node.cpus:
        found.append(
            f"Ray has {node.cpus:g} CPUs there and {booked} are reserved, so {len(cores)} more "
            "do not fit"
        )
    return found


def _devices(replica: ReplicaConfig, node: Node) -> tuple[Device, ...]:
    if replica.cores:
        return (CoreSet(tuple(sorted(replica.cores))),)
    return tuple(gpu for name in replica.gpus if (gpu := node.gpu(name)) is not None)


def _wish(replica: ReplicaConfig) -> str:
    kind = "gpu" if replica.gpus else "core"
    named = ", ".join(map(str, replica.gpus or replica.cores))
    labels = replica.node.labels
    return f"{kind} {named}" + (f" on a node with labels {labels}" if labels else "")


@dataclass(frozen=True, slots=True)
class PlacementPlan:
    """`kept` and `create` are keyed by the name of a group, `missing` by replica."""

    assignments: Mapping[str, Assignment]
    missing: Mapping[str, str]
    kept: Mapping[str, str]
    release: tuple[str, ...]
    create: Mapping[str, tuple[Assignment, Device]]


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
        if group.state == "CREATED"
        and group.name in wanted
        and group.node_id == wanted[group.name][0].node.node_id
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
