"""Reject a body that is too large before it is read.

Nothing above the limit is ever held in memory: a body that declares a greater length is rejected by
its header, and one that declares none (chunked) is counted as it comes and rejected at the first
byte too many.

The error has to arrive. A client that is still sending when the connection closes gets a reset, and
with it may lose the answer that explains it; so the rest of the body is taken and thrown away
first, up to `DISCARD_BYTES` and `DISCARD_S`. A client that sends more is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.problems import problem, respond

# JSON may write one byte of a goal as six (\u0001); the rest is room for the other fields.
_ESCAPE = 6
_OTHER_FIELDS = 64 * 1024
DISCARD_BYTES = 64 * 1024 * 1024
DISCARD_S = 10.0


def body_limit(max_goal_bytes: int) -> int:
    """The most bytes that a body with a goal of `max_goal_bytes` can have."""
    return max_goal_bytes * _ESCAPE + _OTHER_FIELDS


class BodyLimit:
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
            await _discard(receive)
            found = problem(413, self._say(int(declared)), instance=scope["path"])
            await respond(found, {"Connection": "close"})(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                if message.get("more_body"):
                    await _discard(receive)
                raise HTTPException(413, self._say(taken), headers={"Connection": "close"})
            return message

        await self._app(scope, counted, send)

    def _say(self, size: int) -> str:
        return (
            f"The body has {size} bytes or more and the limit is {self._limit} "
            f"(for goals of {self._max_goal_bytes})."
        )


async def _discard(receive: Receive) -> None:
    """Take what the client still sends and drop it, within the bounds of the module."""
    taken = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while taken < DISCARD_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
