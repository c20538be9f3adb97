"""A scenario of a server that misbehaves: a coroutine that gets one request's connection.

The HTTP is written by hand, because most scenarios are things that no framework would send.
`expected` says what the engine makes of it: a text, or a failure class with words that a person
must find in the message.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from familiar.engine import FinishReason
from familiar.errors import FailureClass

UNREACHABLE = FailureClass.BACKEND_UNREACHABLE
REFUSED = FailureClass.BACKEND_REFUSED
OVERFLOW = FailureClass.CONTEXT_OVERFLOW
INVALID = FailureClass.OUTPUT_INVALID

TEXT = "# Title\n\n日本 and 💀.\n"


@dataclass(frozen=True)
class Expected:
    text: str = TEXT
    failure: FailureClass | None = None
    words: str = ""
    reasoning: str = ""
    finish: FinishReason = "stop"
    waits: bool = False
    evidence: dict[str, object] = field(default_factory=dict)
    engine_args: dict[str, object] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request and its connection. `nth` counts the requests of its call, the first of which
    came at `since`."""

    body: dict[str, object]
    path: str
    headers: dict[str, str]
    nth: int
    since: float
    writer: asyncio.StreamWriter

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def head(
        self,
        status: str = "200 OK",
        kind: str = "text/event-stream",
        *more: str,
        version: str = "1.1",
    ) -> None:
        lines = (f"HTTP/{version} {status}", f"Content-Type: {kind}", "Connection: close", *more)
        await self.send("\r\n".join(lines) + "\r\n\r\n")

    async def fails(self, status: str, said: object, *more: str) -> None:
        text = said if isinstance(said, str) else json.dumps(said)
        await self.head(status, "application/json", *more)
        await self.send(text)

    async def event(self, data: object, end: str = "\n\n") -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self.send(f"data: {text}{end}")

    async def piece(self, text: object = None, finish: object = None, **delta: object) -> None:
        await self.event(chunk(text, finish, **delta))

    async def whole(self, *, finish: object = "stop", done: bool = True) -> None:
        for text in (TEXT[:5], TEXT[5:]):
            await self.piece(text)
        await self.piece(finish=finish)
        if done:
            await self.event("[DONE]")

    async def reset(self) -> None:
        """End the connection with an RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
        self.writer.transport.abort()


def chunk(text: object = None, finish: object = None, **delta: object) -> dict[str, object]:
    inner = dict(delta) if text is None else {"content": text, **delta}
    return {"choices": [{"index": 0, "delta": inner, "finish_reason": finish}]}


Play = Callable[[Exchange], Awaitable[None]]
SCENARIOS: dict[str, tuple[Play, Expected]] = {}


def scenario(expected: Expected | None = None) -> Callable[[Play], Play]:
    def keep(play: Play) -> Play:
        SCENARIOS[play.__name__] = (play, expected or Expected())  # type: ignore[attr-defined]
        return play

    return keep


def cut(words: str = "without a finish reason") -> Expected:
    return Expected(failure=UNREACHABLE, words=words)
