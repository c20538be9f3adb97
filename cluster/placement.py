"""Reserve the devices of a deployment's replicas, and say how to start an actor on them.

`reserve` is told the whole deployment and makes the cluster's reservations of that deployment
exactly so: existing groups are adopted by name, missing ones are made, and groups that the config
no longer names are released. Calling it again changes nothing. `cluster.reconcile` does the same
again and again, replica by replica, for nodes that come and go. The groups are detached: they
outlive the process that made them, until `release`.

GPUs and cores go the same way. A GPU is a group of its own, found by `gpu_search`; a replica with
several runs in the first and holds the others. A core set is a group of as many CPUs, and which
cores they are is kept by the group's name; the vLLM engine's process binds itself to them
(`actors.engines.vllm.executor`). A replica that is only a URL has no group, just a node.

Every function blocks on Ray: asyncio code calls them with `asyncio.to_thread`. One caller for each
deployment at a time; several deployments may do so at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster import groups
from cluster.assignment import Assignment, device_key
from cluster.gpu_search import hold_gpus
from cluster.groups import group_name, reservations
from cluster.inventory import CoreSet, Device, Gpu, inventory
from cluster.placement_plan import plan_placement
from familiar.config.schema import ReplicaConfig
from familiar.errors import ClusterError

RESERVE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Placement:
    """A replica's reservation: node, devices, the groups that hold them, environment."""

    replica_id: str
    node_id: str
    node_address: str
    devices: tuple[Device, ...]
    group_ids: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def options(self, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Arguments for `.options(...)` of the replica's actor; `env` adds variables for it.

        The actor's tasks and child actors are not caught by the group. Ray's own choice of
        CUDA_VISIBLE_DEVICES is turned off: a replica on several GPUs would see only the first.
        """
        from ray.util.scheduling_strategies import (
            NodeAffinitySchedulingStrategy,
            PlacementGroupSchedulingStrategy,
        )

        cores = sum(len(d.cores) for d in self.devices if isinstance(d, CoreSet))
        options: dict[str, Any] = {
            "num_cpus": cores,
            "num_gpus": 1 if any(isinstance(d, Gpu) for d in self.devices) else 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(
                groups.handle(self.group_ids[0]), placement_group_bundle_index=0
            )
            if self.group_ids
            else NodeAffinitySchedulingStrategy(self.node_id, soft=False),
        }
        if variables := {**self.env, **(env or {})}:
            options["runtime_env"] = {"env_vars": variables}
        return options


def reserve(
    deployment: str, replicas: Mapping[str, ReplicaConfig], *, timeout_s: float = RESERVE_TIMEOUT_S
) -> dict[str, Placement]:
    """Make the deployment's reservations be those of `replicas` (id to config); all or nothing.

    Removing a group that is no longer named ends the actors in it. Raises ClusterError, which names
    the replica, the device, the devices of the node and the holder; no new group is left then.
    """
    plan = plan_placement(deployment, replicas, inventory(), reservations())
    if plan.missing:
        raise ClusterError(
            " ".join(plan.missing.values()),
            remedy="Change `gpus`, `cores` or `node` of the replica, or free the device.",
        )
    groups.remove(plan.release)
    made = hold(plan.create, timeout_s)
    return {
        replica_id: placement_of(deployment, assignment, {**plan.kept, **made})
        for replica_id, assignment in plan.assignments.items()
    }


def release(deployment: str, replica_ids: Collection[str] | None = None) -> None:
    """Give up the reservations of these replicas, or of the whole deployment.

    The actors in their groups end. Releasing a replica without reservations is no error.
    """
    groups.remove(
        group.group_id
        for group in reservations()
        if group.deployment == deployment
        and (replica_ids is None or group.replica_id in replica_ids)
    )


def hold(missing: Mapping[str, tuple[Assignment, Device]], timeout_s: float) -> dict[str, str]:
    """Make every missing group; return ids by name. All or none. Raises ClusterError."""
    made: dict[str, str] = {}
    try:
        for name, (assignment, device) in missing.items():
            if isinstance(device, CoreSet):
                bundle = {"CPU": float(len(device.cores))}
                made[name] = groups.create(name, assignment.node.node_id, bundle, detached=True)
        placed = groups.wait_placed(made.values(), timeout_s)
        if late := [missing[name] for name, group_id in made.items() if group_id not in placed]:
            raise _no_cpus(late)
        for node in {a.node.node_id: a.node for a, _ in missing.values()}.values():
            gpus = {
                device.index: name
                for name, (assignment, device) in missing.items()
                if isinstance(device, Gpu) and assignment.node.node_id == node.node_id
            }
            if gpus:
                found = hold_gpus(node, gpus, timeout_s=timeout_s)
                made.update({gpus[index]: group_id for index, group_id in found.items()})
    except BaseException:
        groups.remove(made.values())
        raise
    return made


def placement_of(
    deployment: str, assignment: Assignment, group_ids: Mapping[str, str]
) -> Placement:
    """The placement of an assigned replica, whose groups are in `group_ids` by name."""
    names = [
        group_name(deployment, assignment.replica_id, device_key(d)) for d in assignment.devices
    ]
    return Placement(
        replica_id=assignment.replica_id,
        node_id=assignment.node.node_id,
        node_address=assignment.node.address,
        devices=assignment.devices,
        group_ids=tuple(group_ids[name] for name in names),
        env=_environment(assignment.devices),
    )


def _environment(devices: Collection[Device]) -> dict[str, str]:
    gpus = [str(device.index) for device in devices if isinstance(device, Gpu)]
    if gpus:
        return {
            "CUDA_VISIBLE_DEVICES": ",".join(gpus),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order in which NVML counts
            "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
        }
    cores = [str(c) for device in devices if isinstance(device, CoreSet) for c in device.cores]
    if cores:
        return {
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(cores),
            "OMP_NUM_THREADS": str(len(cores)),
        }
    return {}


def _no_cpus(late: Collection[tuple[Assignment, Device]]) -> ClusterError:
    told = "; ".join(
        f"replica {a.replica_id} wants {device} on {a.node}, which Ray was told has "
        f"{a.node.cpus:g} CPUs, and not enough of them are free"
        for a, device in late
    )
    return ClusterError(
        f"{told[0].upper()}{told[1:]}.",
        remedy="End the other programs that hold CPUs there, or start Ray with more `num_cpus`.",
    )
