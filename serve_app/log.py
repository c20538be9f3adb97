"""A run's lines of `orchestra.log`, rendered from its events as the recorder renders them.

The file has the lines of all runs and stays on one node; the events are the source of both. Pages
keep memory bounded however long a run was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from actors.store.log_line import LogLines
from actors.store.queries import Reader
from serve_app.backend import Backend

_PAGE = 500


async def log_pages(backend: Backend, run_id: str) -> AsyncIterator[str]:
    """Pages of lines, oldest first, up to the event that is newest when it is reached."""
    lines = LogLines()
    seq = 0
    while True:
        events = await backend.read(Reader.events, run_id, seq, _PAGE)
        if events:
            seq = events[-1].seq
            yield "".join(f"{lines.render(event)}\n" for event in events)
        if len(events) < _PAGE:
            return
