"""The temporary file that a try's text is streamed to.

Text is collected and written in batches by a thread: a delta costs an append to a list, and a slow
disk slows only the stream that waits for it. The file is made with the first batch. A batch is due
after a quarter of a second or 64 KiB, so that a crash loses at most that much of a partial.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable

from actors.workspace import Workspace, workspace_error, write_all
from familiar.errors import WorkspaceError

_BATCH_S = 0.25
_BATCH_CHARS = 64 * 1024


class PartialFile:
    """One file of the workspace, written once from front to end."""

    def __init__(self, workspace: Workspace, path: str) -> None:
        self.path = path
        self._workspace = workspace
        self._pending: list[str] = []
        self._pending_chars = 0
        self._due_at = time.monotonic() + _BATCH_S
        self._fd: int | None = None
        self._made = False
        self._flight: asyncio.Future[None] | None = None

    def add(self, text: str) -> None:
        if text:
            self._pending.append(text)
            self._pending_chars += len(text)

    def due(self, now: float) -> bool:
        return now >= self._due_at or self._pending_chars >= _BATCH_CHARS

    async def flush(self, *, last: bool = False) -> None:
        """Write what is pending. Raises WorkspaceError; what did fit stays in the file."""
        text = "".join(self._pending)
        self._pending, self._pending_chars = [], 0
        await self._thread(self._write, text, last)
        self._due_at = time.monotonic() + _BATCH_S

    async def finish(self, *, streamed: str, wanted: str) -> None:
        """Make the file hold exactly `wanted`, given that it was fed `streamed`."""
        if wanted.startswith(streamed):
            self.add(wanted[len(streamed) :])
            await self.flush(last=True)
        else:
            self._pending, self._pending_chars = [], 0
            await self._thread(self._replace, wanted)

    async def keep(self) -> str | None:
        """After a failure: write what is pending if possible. None when there is no file."""
        with contextlib.suppress(WorkspaceError):
            await self.flush(last=True)
        return self.path if self._made else None

    async def _thread(self, work: Callable[..., None], *args: object) -> None:
        """Run in a thread, one after the other even when the task that waits is cancelled."""
        if self._flight is not None:
            with contextlib.suppress(WorkspaceError):
                await self._flight
        loop = asyncio.get_running_loop()
        self._flight = loop.run_in_executor(None, work, *args)
        await asyncio.shield(self._flight)

    def _write(self, text: str, last: bool) -> None:
        if self._made and self._fd is None:
            return  # closed after its last write; opening it anew would empty it
        try:
            if self._fd is None:
                self._fd = self._workspace.open_new(self.path)
                self._made = True
            write_all(self._fd, text.encode("utf-8", "replace"))
        except OSError as error:
            raise workspace_error(self._workspace.root, self.path, error) from error
        finally:
            if last:
                self._close()

    def _replace(self, text: str) -> None:
        self._close()
        self._workspace.write(self.path, text.encode("utf-8", "replace"))
        self._made = True

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
