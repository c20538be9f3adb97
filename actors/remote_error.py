"""What an exception that came out of Ray really says.

Ray wraps what a remote method raised. The wrapper is an instance of the original class too, so
`except EngineError` works, but its text holds a traceback and pickling it again is fragile. Errors
of Ray itself (a dead actor, a lost node) know nothing of familiar's tree. Whoever passes a remote
error on passes it through here first.
"""

from __future__ import annotations

from ray.exceptions import RayActorError, RayError, RayTaskError

from familiar.errors import EngineError, FailureClass, FamiliarError


def cause_of(error: BaseException) -> BaseException:
    """The error that the remote method raised; any other error unchanged."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        if error.cause is error:
            break
        error = error.cause
    return error


def as_engine_error(error: Exception, replica: str) -> FamiliarError:
    """The same, for the stream of a replica: always one of familiar's own errors."""
    cause = cause_of(error)
    if isinstance(cause, FamiliarError):
        return cause
    if isinstance(cause, RayActorError):
        return EngineError(
            f"Replica {replica} is gone: {_first_line(cause)}",
            evidence={"replica": replica, "error": type(cause).__name__},
        )
    if isinstance(cause, RayError):
        return EngineError(
            f"The stream of replica {replica} broke: {_first_line(cause)}",
            evidence={"replica": replica, "error": type(cause).__name__},
        )
    return EngineError(
        f"Replica {replica} failed: {type(cause).__name__}: {_first_line(cause)}",
        failure_class=FailureClass.INTERNAL,
        evidence={"replica": replica, "error": type(cause).__name__},
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
