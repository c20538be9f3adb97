"""Placement groups as records: a group's name tells replica, deployment and device.

The name is the whole memory of a reservation, `deployment/pool:index/gpu:1` (or `cores:0,1`): an
orchestrator that was restarted finds its devices by name, and another deployment learns from it the
holder of a device. Ray looks names up within a namespace; its table of groups covers all of them
and does not say which is whose. So the deployment is part of the name, and only the table is read.

Each group has one bundle and is bound to one node by that node's id, which a node never gets
again. So a group cannot be rescheduled to another device behind the back of its name: it is on the
node it was made on, or it is not `CREATED`, and `placement` makes a new one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from familiar.errors import ClusterError

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

REMOVE_S = 30.0
NODE_ID_LABEL = "ray.io/node-id"
_NAME = re.compile(
    r"(?P<deployment>[a-z][a-z0-9_-]*)/(?P<replica>[a-z][a-z0-9_-]*:\d+)/(?P<device>(?:gpu|cores):.+)"
)


@dataclass(frozen=True, slots=True)
class Group:
    """One reservation in the table. `node_id` is "" while it has no node."""

    group_id: str
    name: str
    state: str
    node_id: str

    @property
    def deployment(self) -> str:
        return self._part("deployment")

    @property
    def replica_id(self) -> str:
        return self._part("replica")

    @property
    def device(self) -> str:
        return self._part("device")

    @property
    def cores(self) -> frozenset[int]:
        kind, _, listed = self.device.partition(":")
        return frozenset(map(int, listed.split(","))) if kind == "cores" else frozenset()

    def _part(self, part: str) -> str:
        match = _NAME.fullmatch(self.name)
        return match[part] if match else ""

    def __str__(self) -> str:
        return f"replica {self.replica_id} of deployment {self.deployment}"


def group_name(deployment: str, replica_id: str, device: str) -> str:
    """The name of the group that holds `device` ("gpu:1", "cores:0,1") for a replica."""
    name = f"{deployment}/{replica_id}/{device}"
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} is not a name that a reservation can have.")
    return name


def reservations() -> tuple[Group, ...]:
    """Every reservation in the cluster that has not been removed, of all deployments, by name."""
    from ray.util.placement_group import placement_group_table

    groups = (_group(row) for row in placement_group_table().values())
    return tuple(
        sorted(
            (group for group in groups if group.deployment and group.state != "REMOVED"),
            key=lambda group: group.name,
        )
    )


def create(name: str, node_id: str, bundle: Mapping[str, float], *, detached: bool) -> str:
    """Ask for a group of one bundle on one node; return its id at once, placed or not."""
    from ray.util.placement_group import placement_group

    made = placement_group(
        [dict(bundle)],
        name=name,
        lifetime="detached" if detached else None,
        bundle_label_selector=[{NODE_ID_LABEL: node_id}],
    )
    return str(made.id.hex())


def wait_placed(group_ids: Iterable[str], timeout_s: float) -> set[str]:
    """Wait until all are placed, or `timeout_s` seconds; return those that are."""
    ids = set(group_ids)
    deadline = time.monotonic() + timeout_s
    while True:
        placed = {g for g in ids if _state(g) == "CREATED"}
        if placed == ids or time.monotonic() >= deadline:
            return placed
        time.sleep(0.01)


def remove(group_ids: Iterable[str]) -> None:
    """Remove groups with their actors, and wait until they are gone. Unknown ids are ignored."""
    from ray.util.placement_group import remove_placement_group

    ids = set(group_ids)
    for group_id in ids:
        remove_placement_group(handle(group_id))
    deadline = time.monotonic() + REMOVE_S
    while left := {g for g in ids if _state(g) not in {"REMOVED", ""}}:
        if time.monotonic() >= deadline:
            raise ClusterError(f"Placement groups {sorted(left)} were not removed in time.")
        time.sleep(0.01)


def _state(group_id: str) -> str:
    from ray.util.placement_group import placement_group_table

    return str(placement_group_table(handle(group_id)).get("state", ""))


def handle(group_id: str) -> PlacementGroup:
    """Ray's handle of a group, made without asking the cluster."""
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup

    return PlacementGroup(PlacementGroupID(bytes.fromhex(group_id)))


def _group(row: Mapping[str, object]) -> Group:
    nodes = row.get("bundles_to_node_id")
    assert isinstance(nodes, Mapping)
    return Group(
        group_id=str(row["placement_group_id"]),
        name=str(row["name"]),
        state=str(row["state"]),
        node_id=str(next(iter(nodes.values()), "") or ""),
    )
