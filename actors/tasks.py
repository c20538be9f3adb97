"""Work that goes on beside its owner.

The event loop keeps only weak references to tasks, so their owner has to hold them until they end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Tasks:
    """The tasks of one owner. Made anywhere, used in one event loop."""

    def __init__(self) -> None:
        self._going: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        return task

    def cancel(self) -> None:
        """Cancel all tasks, without waiting for their end."""
        for task in self._going:
            task.cancel()

    async def close(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        going = list(self._going)
        self.cancel()
        await asyncio.gather(*going, return_exceptions=True)
