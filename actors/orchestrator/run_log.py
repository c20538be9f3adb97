"""`orchestra.log`: one line an event, written from the stream of committed events.

Events are taken at once and put into words later, many at a time, when the recorder's thread has
nothing better to do. What cannot be written now is kept, up to a bound, and written later; the
events themselves are in the database in any case.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from actors.private_file import make_private_folder, open_private
from actors.store.log_line import LogLines
from familiar.event import Event

MAX_BACKLOG = 10_000
LATEST_S = 0.25


class RunLog:
    """Used by one thread. `due_at` (`time.monotonic()`) is when `flush` should be called."""

    def __init__(self, path: Path, lines: LogLines) -> None:
        self.due_at = 0.0
        self._path = path
        self._lines = lines
        self._events: list[Event] = []
        self._backlog: deque[str] = deque(maxlen=MAX_BACKLOG)
        self._file: IO[str] | None = None

    @property
    def pending(self) -> bool:
        return bool(self._events)

    def add(self, events: Sequence[Event]) -> None:
        if not self._events:
            self.due_at = time.monotonic() + LATEST_S
        self._events.extend(events)

    def flush(self) -> None:
        """Write the lines of every event that was added."""
        events, self._events = self._events, []
        self._backlog.extend(self._lines.render(event) for event in events)
        if not self._backlog:
            return
        try:
            if self._file is None:
                make_private_folder(self._path.parent)
                fd = open_private(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                self._file = os.fdopen(fd, "a", encoding="utf-8", errors="replace")
            self._file.write("".join(f"{line}\n" for line in self._backlog))
            self._file.flush()
            self._backlog.clear()
        except OSError:
            self.close()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # A full disk is reported once more, and there is nothing left to close.
            with contextlib.suppress(OSError):
                file.close()
