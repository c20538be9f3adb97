"""The projections written anew from the events, as a command and for migrations of columns."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, delete, select

from actors.store.projections import project
from actors.store.tables import EVENTS, PROJECTIONS, SESSIONS
from actors.store.writes import write
from familiar.event import Event, event_from_row

PAGE = 500


def rebuild(connection: Connection, run_id: str | None = None) -> int:
    """Write the projections of one run or of all from the events; how many events. In the caller's
    transaction, so readers see the old rows or the new ones."""
    for table in reversed(PROJECTIONS):
        if run_id is None:
            connection.execute(delete(table))
        elif table is not SESSIONS:
            connection.execute(delete(table).where(table.c.run_id == run_id))
    first = select(EVENTS.c.run_id).where(EVENTS.c.seq == 1).order_by(EVENTS.c.at)
    runs = [run_id] if run_id else list(connection.execute(first).scalars())
    count = 0
    for name in runs:
        for page in pages(connection, name):
            write(connection, project(page))
            count += len(page)
    return count


def pages(connection: Connection, run_id: str) -> Iterator[list[Event]]:
    """The events of a run, in order, some at a time."""
    after = 0
    while True:
        query = (
            select(EVENTS.c.seq, EVENTS.c.epoch, EVENTS.c.at, EVENTS.c.body)
            .where(EVENTS.c.run_id == run_id, EVENTS.c.seq > after)
            .order_by(EVENTS.c.seq)
            .limit(PAGE)
        )
        rows = connection.execute(query).all()
        if rows:
            yield [event_from_row(run_id, *row) for row in rows]
            after = rows[-1].seq
        if len(rows) < PAGE:
            return
