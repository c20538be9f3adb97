"""The messages of a stream of events, read as the standard reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    id: str | None
    event: str
    data: dict[str, Any]


def parse(text: str) -> list[Message]:
    """Every complete message, as the standard reads a stream; a cut one at the end is dropped."""
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        values = {name: value for name, _, value in fields}
        if "data" in values:
            data = json.loads(values["data"])
            found.append(Message(values.get("id"), values.get("event", "message"), data))
    return found


def seqs(messages: list[Message]) -> list[int]:
    return [int(message.id) for message in messages if message.id is not None]


async def messages(stream: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    """The messages of `serve_app.sse.follow`, which gives them in pieces of several."""
    async for piece in stream:
        for message in parse(piece.decode()):
            yield message
