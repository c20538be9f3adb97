"""Keep the devices of a deployment's replicas reserved, and say how to start an actor on them.

`Reconciler.reconcile` is called every second or two. It looks at the live nodes and at the table of
groups, two short questions to Ray, and when both fit the configuration that is all. Otherwise
groups that are not wanted or on dead nodes are released, existing ones are adopted by name, and
replicas without one get theirs as soon as a node has the labels and the devices; a node's id plays
no part, so one that was restarted counts as the successor. A replica that cannot be placed holds up
no other. The groups are detached: they outlive the process that made them, until `release`.

GPUs and cores go the same way. A GPU is a group of its own, found by `gpu_search`, which asks it
which GPU it has whenever one is made; a replica with several runs in the first and holds the
others. A core set is a group of as many CPUs, and which cores they are is kept by the group's name;
the vLLM engine's process binds itself to them (`actors.engines.vllm.executor`). A replica that is
only a URL has no group, just a node.

Every function blocks on Ray: asyncio code calls them with `asyncio.to_thread`. One caller for each
deployment at a time; several deployments may do so at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster import groups
from cluster.assignment import Assignment, PlacementPlan, device_key, plan_placement
from cluster.gpu_search import hold_gpus
from cluster.groups import group_name, reservations
from cluster.inventory import CoreSet, Device, Gpu, Observation, survey
from familiar.config.schema import ReplicaConfig
from familiar.errors import ClusterError

OBSERVE_S = 10.0
HOLD_S = 5.0
PAUSE_S = 5.0
"""Between two attempts at a device that something else holds: a search takes every free GPU."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A replica's reservation: node, devices, the groups that hold them, environment."""

    replica_id: str
    node_id: str
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


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Each replica is in one of both: placed, or missing for a reason."""

    placements: Mapping[str, Placement]
    missing: Mapping[str, str]


@dataclass(slots=True)
class Reconciler:
    """The placement of one deployment, as it was last seen."""

    deployment: str
    _observed: dict[str, Observation] = field(default_factory=dict)
    _placed: dict[str, Placement] = field(default_factory=dict)
    _failed: dict[str, tuple[float, str]] = field(default_factory=dict)

    def reconcile(self, replicas: Mapping[str, ReplicaConfig]) -> Reconciled:
        """Release and make reservations so that every replica that can be placed is.

        A replica whose placement differs from the one before has lost its devices: its actor is
        gone or has to go. Raises ClusterError when Ray itself gives no answer.
        """
        nodes, silent = survey(self._observed, timeout_s=OBSERVE_S)
        settled = {key: placement.node_id for key, placement in self._placed.items()}
        plan = plan_placement(
            self.deployment, replicas, nodes, reservations(), silent=silent, settled=settled
        )
        groups.remove(plan.release)
        held = {**plan.kept, **self._make(plan)}
        placements = {
            key: placement_of(self.deployment, assignment, held)
            for key, assignment in plan.assignments.items()
            if key not in self._failed
        }
        self._placed = placements
        failed = {key: reason for key, (_, reason) in self._failed.items()}
        return Reconciled(placements, {**plan.missing, **failed})

    def _make(self, plan: PlacementPlan) -> dict[str, str]:
        """The new groups by name; a replica whose devices are not free goes into `_failed`."""
        wishes: dict[str, dict[str, tuple[Assignment, Device]]] = {}
        for name, (assignment, device) in plan.create.items():
            wishes.setdefault(assignment.replica_id, {})[name] = (assignment, device)
        self._failed = {key: told for key, told in self._failed.items() if key in wishes}
        now = time.monotonic()
        due = {
            key: wish
            for key, wish in wishes.items()
            if key not in self._failed or now - self._failed[key][0] >= PAUSE_S
        }
        try:
            made = hold({name: w for wish in due.values() for name, w in wish.items()}, HOLD_S)
        except ClusterError as error:
            if len(due) == 1:
                self._fail(next(iter(due)), error)
                return {}
        else:
            for key in due:
                self._failed.pop(key, None)
            return made
        made = {}
        for key, wish in due.items():
            try:
                made.update(hold(wish, HOLD_S))
                self._failed.pop(key, None)
            except ClusterError as error:
                self._fail(key, error)
        return made

    def _fail(self, replica_id: str, error: ClusterError) -> None:
        self._failed[replica_id] = (time.monotonic(), f"Replica {replica_id}: {error}")


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
