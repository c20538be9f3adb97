"""A deployment through its orchestrator actor, for a process that is connected to the same Ray.

Recorded runs are read from the database; new work is asked of the actor. While an orchestrator
is restarted, the client waits: its runs go on, and their followers too. An
orchestrator whose name is gone was taken down: a follower is told so within seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from actors.deploy import find_orchestrator
from actors.remote_error import cause_of
from familiar.config.schema import Config
from familiar.errors import ClusterError, FamiliarError
from familiar.goal import read_goal
from familiar.service import Readiness, SubmitRun
from serve_app.client.database import DatabaseHistory
from serve_app.client.service import Message
from serve_app.models import CancelAccepted, PoolList, RunAccepted, StreamProgress

ANSWER_S = 60.0
# Also how often progress is told.
WAIT_S = 1.0


class ActorService(DatabaseHistory):
    """Implements `Service`. The database must be readable here, and exist: wait for readiness."""

    def __init__(self, orchestrator: Any, config: Config) -> None:
        super().__init__(config.store.url)
        self._orchestrator = orchestrator
        self._deployment = config.deployment
        self._max_goal_bytes = config.api.max_goal_bytes

    def submit(self, order: SubmitRun) -> RunAccepted:
        goal = read_goal(order.goal, max_bytes=self._max_goal_bytes, files=order.files)
        return RunAccepted.of(self._ask("submit", order), goal)

    def cancel(self, run_id: str, reason: str) -> CancelAccepted:
        self.run(run_id)
        status = self._ask("cancel", run_id, reason)
        return CancelAccepted.model_validate({"run_id": run_id, "status": status})

    def pools(self) -> PoolList:
        return PoolList(pools=list(self._ask("pools")))

    def readiness(self) -> Readiness:
        found: Readiness = self._ask("readiness")
        return found

    def waited(self, run_id: str, seq: int) -> Iterator[Message]:
        try:
            if self._ask("wait_beyond", run_id, seq, WAIT_S) > seq:
                return
            if running := self._ask("progress", run_id):
                yield StreamProgress(calls=running)
            self.check_deployment(run_id, there=True)
        except ClusterError:
            found = find_orchestrator(self._deployment)
            self._orchestrator = found or self._orchestrator
            self.check_deployment(run_id, there=found is not None)
            time.sleep(WAIT_S)

    # Any: the answers of actor methods have no types here.
    def _ask(self, method: str, *args: object) -> Any:
        try:
            return ray.get(getattr(self._orchestrator, method).remote(*args), timeout=ANSWER_S)
        except (RayActorError, GetTimeoutError):
            raise ClusterError(
                f"The orchestrator does not answer {method}; it may be restarting.",
                remedy="Ask again in some seconds.",
            ) from None
        except RayTaskError as error:
            cause = cause_of(error)
            if isinstance(cause, FamiliarError):
                raise cause from None
            raise
