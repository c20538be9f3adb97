"""Refuse a body that is too large before it is read.

A declared length above the limit is refused at once; a body that does not declare one (chunked) is
counted as it comes and refused at the first byte too many, so a request can never hold more than
the limit in memory.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.problems import problem, respond

# JSON may write one byte of a goal as six (\u0001); the rest is room for the other fields.
_ESCAPE = 6
_OTHER_FIELDS = 64 * 1024


def body_limit(max_goal_bytes: int) -> int:
    """The most bytes that a body with a goal of `max_goal_bytes` can have."""
    return max_goal_bytes * _ESCAPE + _OTHER_FIELDS


class BodyLimit:
    """ASGI middleware; `limit` in bytes."""

    def __init__(self, app: ASGIApp, *, limit: int, max_goal_bytes: int) -> None:
        self._app = app
        self._limit = limit
        self._max_goal_bytes = max_goal_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            # The rest of the body is not waited for, so the connection cannot be used again.
            found = problem(413, self._say(int(declared)), instance=scope["path"])
            await respond(found, {"Connection": "close"})(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                raise HTTPException(413, self._say(taken), headers={"Connection": "close"})
            return message

        await self._app(scope, counted, send)

    def _say(self, size: int) -> str:
        return (
            f"The body has {size} bytes or more and the limit is {self._limit} "
            f"(for goals of {self._max_goal_bytes})."
        )
