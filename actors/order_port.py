"""Where a replica's process takes orders: a TCP port on its node's own address.

Orders and outcomes go straight from process to process, because a Ray actor call costs fifty times
what a message over a local connection does (measured: 2.1 ms and 0.045 ms, there and back), and
every model call waits for it. Who may call the actor learns the address and a secret from it, and
the secret is the first message of a connection; nothing is unpickled before it was right. Where Ray
encrypts its traffic, these connections are encrypted with the same certificates (`cluster.tls`).

Outcomes that end together leave together. A lost connection loses nothing: the workbench keeps
every outcome until it hears that it is committed, and who orders the try again gets it again.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import pickle
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from actors.frames import Frames
from cluster.tls import server_tls
from familiar.call import CallOrder, CallOutcome
from familiar.errors import StaleEpoch

HELLO_S = 10.0
"""How long a connection may take to show the secret."""

log = logging.getLogger("familiar.replica")


@dataclass(frozen=True, slots=True)
class PortAddress:
    """Where to connect to, and the secret to begin with."""

    host: str
    port: int
    secret: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Line(Frames):
    """The connection of one orchestrator to this process."""

    def __init__(self, port: OrderPort) -> None:
        super().__init__(self._heard, self._gone, limit=len(port.secret))
        self._port = port
        self._ended: list[CallOutcome] = []
        self._loop = asyncio.get_running_loop()
        self._hello = self._loop.call_later(HELLO_S, self.abort)
        self._known = False
        self.owed = 0

    def owe(self) -> None:
        """One more outcome will be put."""
        self.owed += 1

    def put(self, outcome: CallOutcome) -> None:
        """Send an outcome, with the others of this turn of the event loop."""
        if not self._ended:
            self._loop.call_soon(self._flush)
        self._ended.append(outcome)

    def refuse(self, reason: StaleEpoch) -> None:
        """Another orchestrator orders now: nothing more is taken from this one or sent to it."""
        self.send(pickle.dumps(reason, 5))
        self.close()
        self._port.forget(self)

    def _heard(self, _: Frames, message: bytes) -> None:
        if self._known:
            try:
                self._port.take(pickle.loads(message), self)
            except StaleEpoch as error:
                self.refuse(error)
        elif hmac.compare_digest(message, self._port.secret):
            self._known, self.limit = True, None
            self._hello.cancel()
            self._port.lines.add(self)
        else:
            log.warning("a connection to the order port without its secret was closed")
            self.abort()

    def _gone(self, _: Frames, error: Exception | None) -> None:
        self._hello.cancel()
        self._port.forget(self)

    def _flush(self) -> None:
        self.owed -= len(self._ended)
        self.send(pickle.dumps(self._ended, 5))
        self._ended = []
        self._port.paid()


Take = Callable[[Sequence[CallOrder], Line], None]
"""Begin the orders of one epoch, at least one, and put their outcomes into the line. Raises
`StaleEpoch`."""


class OrderPort:
    """One per process, used in its event loop."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.secret = secrets.token_bytes(32)
        self.lines: set[Line] = set()
        self._settled = asyncio.Event()
        self._opening = asyncio.Lock()
        self._address: PortAddress | None = None

    async def open(self, host: str) -> PortAddress:
        """Listen on `host`, once; the address says where. Raises `OSError`."""
        async with self._opening:
            if self._address is None:
                loop = asyncio.get_running_loop()
                server = await loop.create_server(lambda: Line(self), host, 0, ssl=server_tls())
                port: int = server.sockets[0].getsockname()[1]
                self._address = PortAddress(host, port, self.secret)
        return self._address

    async def settled(self) -> None:
        """Wait until nobody waits for an outcome any more."""
        while any(line.owed for line in self.lines):
            self._settled.clear()
            await self._settled.wait()

    def paid(self) -> None:
        """A line owes less."""
        self._settled.set()

    def refuse_others(self, line: Line, reason: StaleEpoch) -> None:
        """From now on only `line` orders here."""
        for other in self.lines - {line}:
            other.refuse(reason)

    def forget(self, line: Line) -> None:
        self.lines.discard(line)
        self.paid()
