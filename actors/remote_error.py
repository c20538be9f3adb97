"""The cause of an exception that came out of Ray.

Ray wraps what a remote method raised. The wrapper is an instance of the original class too, so
`except EngineError` works, but its text holds a traceback and pickling it again is fragile. Errors
of Ray itself (a dead actor, a lost node) know nothing of familiar's tree. A remote error goes
through here before it is passed on.
"""

from __future__ import annotations

from ray.exceptions import RayTaskError


def cause_of(error: BaseException) -> BaseException:
    """The error that the remote method raised; any other error unchanged."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        if error.cause is error:
            break
        error = error.cause
    return error
