"""Keep a deployment's placement right while nodes are lost and join.

`Reconciler.reconcile` is called every second or two. It looks at the live nodes and at the table of
groups, two short questions to Ray, and when both fit the configuration that is all. Otherwise
reservations on dead nodes are released, and replicas without one get theirs as soon as a node has
the labels and the devices; a node's id plays no part, so one that was restarted counts as the
successor. A replica that cannot be placed holds up no other.

A group of a GPU is asked which GPU it has whenever it is made (`gpu_search`), so also after a node
came back. Blocking: asyncio code calls it in a thread. One caller for each deployment at a time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster import groups
from cluster.assignment import Assignment
from cluster.groups import reservations
from cluster.inventory import Device, Observation, survey
from cluster.placement import Placement, hold, placement_of
from cluster.placement_plan import PlacementPlan, plan_placement
from familiar.config.schema import ReplicaConfig
from familiar.errors import ClusterError

OBSERVE_S = 10.0
HOLD_S = 5.0
PAUSE_S = 5.0
"""Between two attempts at a device that something else holds: a search takes every free GPU."""


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
