"""What an exception that came out of Ray really says.

Ray wraps what a remote method raised. The wrapper is an instance of the original class too, so
`except EngineError` works, but its text holds a traceback and pickling it again is fragile. Errors
of Ray itself (a dead actor, a lost node) know nothing of familiar's tree. Whoever passes a remote
error on passes it through here first.
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
