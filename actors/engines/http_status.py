"""What an HTTP error status says about a backend, as a failure class.

A client error is the server's considered no: the same request will get it again. Overload (408,
425, 429) and server errors say nothing about the request, so another try, or another replica, may
succeed; they count as a backend that cannot be reached just now, with the status as evidence.
"""

from __future__ import annotations

from familiar.errors import FailureClass

_PASSING = frozenset({408, 425, 429})


def class_of_status(status: int) -> FailureClass:
    """For a status of 400 or above."""
    if 400 <= status < 500 and status not in _PASSING:
        return FailureClass.BACKEND_REFUSED
    return FailureClass.BACKEND_UNREACHABLE
