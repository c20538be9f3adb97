"""`orchestra.log`: one line for each committed event, for a person with `grep` and `less`.

    2026-03-01T12:00:07.412Z run-7f3a #14 turn=1 call=hero/1 role=naughty succeeded duration_ms=842
        replica=smollm2:0 tokens=512+220 raw=3b675d2394af text=3b675d2394af

A line (it is a single one) has the time, the run, the event's number, then turn, call and role
where there are any, what happened, and `duration_ms` where something took time. What is too long
for a line is named by the first twelve digits of its SHA-256, by which `familiar show` and the API
give the whole text. Outcome events do not repeat turn and role, so they are remembered from
the dispatch, or looked up when the dispatch was before this process.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from actors.private_file import make_private_folder, open_private
from familiar import event as e
from familiar.event_text import describe

MAX_BACKLOG = 10_000
LATEST_S = 0.25

Role = tuple[int | None, str | None]
"""Turn and alias."""


class LogLines:
    """Renders events in the order in which they were committed. `lookup` gives turn and alias of a
    call (run, call) whose dispatch this object has not seen."""

    def __init__(self, lookup: Callable[[str, str], Role | None] | None = None) -> None:
        self._lookup = lookup
        self._roles: dict[str, dict[str, Role]] = {}
        self._submitted: dict[str, float] = {}

    def render(self, event: e.Event) -> str:
        body = event.body
        run = event.run_id
        call = getattr(body, "call", None)
        attempt = getattr(body, "attempt", None)
        turn = getattr(body, "turn", None)
        alias: str | None = None
        if isinstance(body, e.CallDispatched):
            alias = body.alias
            self._roles.setdefault(run, {})[body.call] = (turn, alias)
        elif isinstance(body, e.RunSubmitted):
            self._submitted[run] = event.at
        elif call is not None:
            turn, alias = self._role(run, call)
        parts = [_time(event.at), run, f"#{event.seq}"]
        if turn is not None:
            parts.append(f"turn={turn}")
        if call is not None:
            parts.append(f"call={call}/{attempt}" if attempt is not None else f"call={call}")
        if alias is not None:
            parts.append(f"role={alias}")
        found = describe(event, self._submitted.get(run))
        parts += [found.action, *found.fields]
        if isinstance(body, e.RunEnded):
            self._roles.pop(run, None)
            self._submitted.pop(run, None)
        return " ".join(parts)

    def _role(self, run: str, call: str) -> Role:
        known = self._roles.setdefault(run, {})
        if call not in known:
            known[call] = (self._lookup(run, call) if self._lookup else None) or (None, None)
        return known[call]


def _time(at: float) -> str:
    milliseconds = round(at * 1000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{whole}.{milliseconds % 1000:03d}Z"


class RunLog:
    """The file. Events are taken at once and put into words later, many at a time, when the
    recorder's thread has nothing better to do. Lines that cannot be written now are kept, up to a
    bound, and written later; the events themselves are in the database in any case.

    Used by one thread. `due_at` (`time.monotonic()`) is when `flush` should be called."""

    def __init__(self, path: Path, lines: LogLines) -> None:
        self.due_at = 0.0
        self._path = path
        self._lines = lines
        self._events: list[e.Event] = []
        self._backlog: deque[str] = deque(maxlen=MAX_BACKLOG)
        self._file: IO[str] | None = None

    @property
    def pending(self) -> bool:
        return bool(self._events)

    def add(self, events: Sequence[e.Event]) -> None:
        if not self._events:
            self.due_at = time.monotonic() + LATEST_S
        self._events.extend(events)

    def flush(self) -> None:
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
