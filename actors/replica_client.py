"""The orchestrator's side of one replica process: orders out, outcomes back, in as few messages as
the traffic allows.

Every exchange carries the orders that became ready together and is answered with whatever has
ended by then, which need not be the tries that it ordered. As long as a try is waited for, one
exchange is open. When one fails, so does everything that is waited for: the process is gone or out
of reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from concurrent.futures import Future
from typing import Any

from familiar.call import CallKey, CallOrder, CallOutcome


class ReplicaClient:
    """Made and used in the orchestrator's event loop."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._exchange = handle.exchange
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[CallKey, asyncio.Future[CallOutcome]] = {}
        self._outgoing: list[CallOrder] = []
        self._epoch = 0
        self._open = 0

    def carry_out(self, order: CallOrder) -> asyncio.Future[CallOutcome]:
        """The outcome of a try, which is begun or attached to. Fails with Ray's error."""
        outcome = self._waiting.get(order.key)
        if outcome is None or outcome.done():
            outcome = self._loop.create_future()
            self._waiting[order.key] = outcome
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing.append(order)
        return outcome

    def _send(self) -> None:
        orders, self._outgoing = self._outgoing, []
        self._epoch = max((order.epoch for order in orders), default=self._epoch)
        self._open += 1
        # Plain bytes spare Ray's serializer its look at every object in them.
        reply = self._exchange.remote(pickle.dumps((self._epoch, orders), 5))
        reply.future().add_done_callback(self._arrived)

    def _arrived(self, reply: Future[bytes]) -> None:
        """Called in a thread of Ray's."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._answered, reply)

    def _answered(self, reply: Future[bytes]) -> None:
        self._open -= 1
        error = reply.exception()
        if error is not None:
            waiting, self._waiting = self._waiting, {}
            for outcome in waiting.values():
                if not outcome.done():
                    outcome.set_exception(error)
            return
        for ended in pickle.loads(reply.result()):
            waiter = self._waiting.pop(ended.key, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(ended)
        if not self._open and not self._outgoing and self._wanted():
            self._send()

    def _wanted(self) -> bool:
        """Whether anybody still waits; who went away is dropped."""
        gone = [key for key, outcome in self._waiting.items() if outcome.done()]
        for key in gone:
            del self._waiting[key]
        return bool(self._waiting)
