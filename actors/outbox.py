"""Ended tries on their way back to the orchestrator that ordered them.

Outcomes leave in batches: while a reply is on its way, what ends meanwhile piles up and shares the
next one, so many calls in flight cost a few messages instead of one each. A lost reply loses
nothing: the workbench keeps every outcome until it hears that it is committed, and who asks for the
try again gets it again.
"""

from __future__ import annotations

import asyncio
from collections import deque

from familiar.call import CallOutcome
from familiar.errors import StaleEpoch


class Outbox:
    """Of one epoch."""

    def __init__(self) -> None:
        self._owed = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._ended: list[CallOutcome] = []
        self._takers: deque[asyncio.Future[None]] = deque()
        self._awake = False
        self._closed: StaleEpoch | None = None

    def owe(self) -> None:
        """One more outcome will be put."""
        self._owed += 1
        self._settled.clear()

    async def settled(self) -> None:
        """Wait until everything that is owed has left."""
        await self._settled.wait()

    def put(self, outcome: CallOutcome) -> None:
        self._ended.append(outcome)
        self._wake()

    async def take(self) -> list[CallOutcome]:
        """Every outcome that is there, as soon as there is one. Raises `StaleEpoch` once closed."""
        while not self._ended:
            if self._closed is not None:
                raise self._closed
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._awake = False
                    self._wake()  # what it was woken for is for another to take
                raise
            self._awake = False
        self._owe(self._owed - len(self._ended))
        ended, self._ended = self._ended, []
        return ended

    def close(self, reason: StaleEpoch) -> None:
        """Another orchestrator orders now: nobody waits here any longer."""
        self._closed = reason
        self._ended.clear()
        self._owe(0)
        for taker in self._takers:
            if not taker.done():
                taker.set_result(None)
        self._takers.clear()

    def _owe(self, count: int) -> None:
        self._owed = count
        if not count:
            self._settled.set()

    def _wake(self) -> None:
        """Wake one taker. It runs when the loop comes round, and finds what has ended by then."""
        while self._ended and self._takers and not self._awake:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                self._awake = True
