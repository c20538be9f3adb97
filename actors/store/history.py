"""The events read page by page, and the projections written anew from them (as a command, and for
migrations of columns)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, delete, func, select

from actors.store.projections import project
from actors.store.tables import EVENTS, PROJECTIONS
from actors.store.writes import write
from familiar.event import Event, event_from_row

PAGE = 500
"""Events of one query."""


def rebuild(connection: Connection) -> int:
    """Write the projections from the events; how many events. In the caller's transaction, so
    readers see the old rows or the new ones."""
    for table in reversed(PROJECTIONS):
        connection.execute(delete(table))
    first = select(EVENTS.c.run_id).where(EVENTS.c.seq == 1).order_by(EVENTS.c.at)
    count = 0
    for run_id in list(connection.execute(first).scalars()):
        for page in pages(connection, run_id):
            write(connection, project(page))
            count += len(page)
    return count


def pages(connection: Connection, run_id: str, after: int = 0) -> Iterator[list[Event]]:
    """The events of a run above `after`, in order, some at a time."""
    while page := event_page(connection, run_id, after, PAGE):
        yield page
        after = page[-1].seq
        if len(page) < PAGE:
            return


def event_page(connection: Connection, run_id: str, after: int, limit: int) -> list[Event]:
    query = (
        select(EVENTS.c.seq, EVENTS.c.epoch, EVENTS.c.at, EVENTS.c.body)
        .where(EVENTS.c.run_id == run_id, EVENTS.c.seq > after)
        .order_by(EVENTS.c.seq)
        .limit(limit)
    )
    return [event_from_row(run_id, *row) for row in connection.execute(query)]


def newest_seq(connection: Connection, run_id: str) -> int:
    newest = select(func.max(EVENTS.c.seq)).where(EVENTS.c.run_id == run_id)
    return connection.execute(newest).scalar() or 0
