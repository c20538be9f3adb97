"""Every error that familiar raises on purpose, one tree, named by the boundary that failed.

    FamiliarError
    ├── ConfigError            the YAML or an override is wrong
    ├── InputError             the request or input is wrong (HTTP 4xx, exit code 2)
    │   ├── NotFound           no such run, call, session, artifact
    │   └── Conflict           the request contradicts a recorded one, or its workspace
    ├── WireError              model output that cannot be read in the expected form
    ├── InvalidTransition      an event that the state of its run cannot take
    ├── StackError             an operation that a message stack does not allow
    ├── WorkspaceError         a path that leaves the workspace, a full disk, a git failure
    │   └── PathRejected       the path cannot be written until a person has changed something
    ├── StoreError             the database rejected a statement, is read-only or is the wrong one
    │   └── StaleEpoch         a newer orchestrator owns the run
    ├── ClusterError           no node, no device, no placement, a port that is taken
    │   └── DeploymentEnded    no orchestrator works on the deployment's runs any more
    ├── EngineError            an engine did not start, broke, or answered with an error
    └── CallError              a worker call failed with a class and evidence

A message names the problem, the run, call or replica, and the remedy. Errors cross process
boundaries, so each survives pickling: attributes are rebuilt through `__reduce__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class FailureClass(StrEnum):
    """Why a call or a run failed. Recovery chooses by this value; explain reads it."""

    BACKEND_UNREACHABLE = "backend_unreachable"
    BACKEND_REFUSED = "backend_refused"
    BACKEND_SLOW = "backend_slow"
    BACKEND_STALLED = "backend_stalled"
    CALL_OVERSIZED = "call_oversized"
    CALL_TRUNCATED = "call_truncated"
    QUEUE_TIMEOUT = "queue_timeout"
    CONTEXT_OVERFLOW = "context_overflow"
    WIRE_MALFORMED = "wire_malformed"
    OUTPUT_INVALID = "output_invalid"
    TOOL_FAILED = "tool_failed"
    GUARD_BLOCKED = "guard_blocked"
    ALIAS_REMOVED = "alias_removed"
    WORKSPACE_FAILED = "workspace_failed"
    WORKBENCH_LOST = "workbench_lost"
    DEPENDENCY_FAILED = "dependency_failed"
    PLAN_INVALID = "plan_invalid"
    PLAN_REPEATED = "plan_repeated"
    BUDGET_EXHAUSTED = "budget_exhausted"
    EVALUATOR_REJECTED = "evaluator_rejected"
    FILES_MISSING = "files_missing"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


class FamiliarError(Exception):
    """The root. `str(error)` is the whole message for a person; `remedy` is one instruction."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(kind: type[FamiliarError], message: str, state: dict[str, object]) -> FamiliarError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class ConfigError(FamiliarError):
    """A configuration that cannot be used. `where` is the path of the offending key."""

    def __init__(self, message: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.where = where


class InputError(FamiliarError):
    """A request that cannot be accepted. `field` names the value to change."""

    def __init__(self, message: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.field = field


class NotFound(InputError):
    """No such run, call, session or artifact."""


class Conflict(InputError):
    """The request contradicts a recorded one, or the state of its workspace."""


class WireError(FamiliarError):
    """Model output that cannot be read in the expected form."""


class InvalidTransition(FamiliarError):
    """An event that the state of its run cannot take. `story` has the call's last events."""

    def __init__(
        self,
        message: str,
        *,
        run_id: str = "",
        call: str | None = None,
        story: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.call = call
        self.story = story


class StackError(FamiliarError):
    """An operation that a message stack does not allow, or a recorded prompt that is none."""


class WorkspaceError(FamiliarError):
    """A path that leaves the workspace, a full disk, a git failure. `path` is as it was given."""

    def __init__(self, message: str, *, path: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.path = path


class PathRejected(WorkspaceError):
    """A path that the workspace cannot take until a person has changed something there."""


class StoreError(FamiliarError):
    """The database rejected a statement, is read-only, or is the wrong one."""


class StaleEpoch(StoreError):
    """A newer orchestrator has taken the epoch; a writer that gets this error must stop."""


class ClusterError(FamiliarError):
    """No node, no device, no placement, or a port that is taken."""


class DeploymentEnded(ClusterError):
    """The deployment was taken down, or another one took its database: its open runs stand still
    until it is started again."""


class EngineError(FamiliarError):
    """An engine did not start, broke, or answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        failure_class: FailureClass = FailureClass.BACKEND_UNREACHABLE,
        evidence: Mapping[str, object] | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.failure_class = failure_class
        self.evidence = dict(evidence or {})


class CallError(FamiliarError):
    """A worker call failed. `failure_class` and `evidence` become the call's terminal event."""

    def __init__(
        self,
        message: str,
        *,
        failure_class: FailureClass,
        evidence: Mapping[str, object] | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.failure_class = failure_class
        self.evidence = dict(evidence or {})
