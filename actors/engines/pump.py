"""A stream read by a task of its own, so that its consumer can wait for other things too.

Used where an abort from outside must end a wait for the next item, and where items are gathered for
a while before they are passed on. Items read before an error or an abort are still delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Pump(Generic[T]):
    """Starts reading when it is made; `close` must be called in the end."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self._items: list[T] = []
        self._error: Exception | None = None
        self._ended = False
        self._arrival: asyncio.Future[None] | None = None
        self._task = asyncio.create_task(self._run())
        self.cancelled = False

    async def batch(self) -> list[T]:
        """The items that have arrived, at least one; [] at the end. Raises the source's error."""
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._ended:
                return []
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return self.more()

    def more(self) -> list[T]:
        """The items that have arrived by now, perhaps none."""
        items, self._items = self._items, []
        return items

    def cancel(self) -> None:
        """End the stream where it is."""
        self.cancelled = True
        self._task.cancel()

    async def close(self) -> None:
        """Stop reading and close the source."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async for item in self._source:
                self._items.append(item)
                self._rouse()
        except Exception as error:
            self._error = error
        finally:
            close = getattr(self._source, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()
            self._ended = True
            self._rouse()

    def _rouse(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
