"""The orchestrator's side of one replica process: orders out, outcomes back, over one connection.

Orders that become ready together leave together, and outcomes come as they end. When the connection
is lost, everything that is waited for fails with it, and whoever asks again connects again: only
Ray knows whether the process is gone.
"""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

from ray.exceptions import RayError

from actors.frames import Frames
from actors.order_port import PortAddress
from actors.remote_error import cause_of
from actors.tasks import Tasks
from cluster.tls import client_tls
from familiar.call import CallKey, CallOrder, CallOutcome
from familiar.errors import StaleEpoch

CONNECT_S = 10.0


class ReplicaClient:
    """Made and used in the orchestrator's event loop."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._loop = asyncio.get_running_loop()
        self._line: Frames | None = None
        self._opening = asyncio.Lock()
        self._tasks = Tasks()
        self._waiting: dict[CallKey, asyncio.Future[CallOutcome]] = {}
        self._outgoing: list[CallOrder] = []

    def carry_out(self, order: CallOrder) -> asyncio.Future[CallOutcome]:
        """The outcome of a try, which is begun or attached to. Fails with Ray's error when the
        process is gone, `OSError` when it cannot be reached, `StaleEpoch` when it serves another
        orchestrator."""
        outcome = self._waiting.get(order.key)
        if outcome is None or outcome.done():
            outcome = self._loop.create_future()
            self._waiting[order.key] = outcome
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing.append(order)
        return outcome

    async def open(self) -> None:
        """Connect, unless that is done. Raises Ray's error, and `OSError` with the address."""
        async with self._opening:
            if self._line is not None:
                return
            address: PortAddress | None = None
            try:
                async with asyncio.timeout(CONNECT_S):
                    address = await self.handle.order_port.remote()
                    _, line = await self._loop.create_connection(
                        lambda: Frames(self._answered, self._lost),
                        address.host,
                        address.port,
                        ssl=client_tls(),
                    )
            except OSError as error:
                where = address or "where it takes orders"
                raise ConnectionError(
                    f"there is no connection to {where}: {cause_of(error)!r}; the "
                    "nodes of a cluster have to reach each other's TCP ports"
                ) from error
            line.send(address.secret)
            if not line.alive:
                raise ConnectionError(f"{address} closed the connection at once")
            self._line = line

    def close(self, error: Exception) -> None:
        """Fail everything that is waited for: the process is given up."""
        line, self._line = self._line, None
        if line is not None:
            line.abort()
        self._fail(error)

    def _answered(self, _: Frames, message: bytes) -> None:
        """Outcomes have come, or the refusal of our epoch."""
        ended = pickle.loads(message)
        if isinstance(ended, StaleEpoch):
            self.close(ended)
            return
        for outcome in ended:
            waiter = self._waiting.pop(outcome.key, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(outcome)

    def _lost(self, line: Frames, error: Exception | None) -> None:
        """The connection is gone."""
        if line is self._line:
            self._line = None
            why = str(error or "it was closed")
            self._fail(ConnectionError(f"the connection to it was lost: {why}"))

    def _send(self) -> None:
        if not self._outgoing:
            return
        if self._line is None:
            self._tasks.spawn(self._open_and_send())
        else:
            orders, self._outgoing = self._outgoing, []
            self._line.send(pickle.dumps(orders, 5))

    async def _open_and_send(self) -> None:
        try:
            await self.open()
        except (RayError, OSError) as error:
            self._fail(error)
        else:
            self._send()

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting, self._outgoing = self._waiting, {}, []
        for outcome in waiting.values():
            if not outcome.done():
                outcome.set_exception(error)
