"""Messages over a connection: eight bytes that say how long it is, then the message.

Received bytes are only ever appended and cut off, so a long message costs its length. Until it is
lifted, `limit` bounds what a peer that is not known yet can make this process keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

_HEAD = 8

Received = Callable[["Frames", bytes], None]
"""A whole message has come."""
Lost = Callable[["Frames", Exception | None], None]
"""The connection has ended, from whichever side; None when nothing went wrong."""


class Frames(asyncio.Protocol):
    """One connection, used in one event loop."""

    def __init__(self, received: Received, lost: Lost, *, limit: int | None = None) -> None:
        self.limit = limit
        self._tell_received = received
        self._tell_lost = lost
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()

    @property
    def alive(self) -> bool:
        """Whether messages can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: bytes) -> None:
        """Send a message, or nothing when the connection has ended: `Lost` says so."""
        if self._transport is not None and self.alive:
            self._transport.write(len(message).to_bytes(_HEAD) + message)

    def close(self) -> None:
        """End the connection when what was sent has left."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transports are no heirs of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received, start = self._received, 0
        received += data
        while self.alive and len(received) - start >= _HEAD:
            body = start + _HEAD
            size = int.from_bytes(received[start:body])
            if self.limit is not None and size > self.limit:
                self.abort()
                break
            if len(received) - body < size:
                break
            start = body + size
            self._tell_received(self, bytes(received[body:start]))
        del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._tell_lost(self, exc)
