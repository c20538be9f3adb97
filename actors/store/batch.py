"""The rows of a batch of events, grouped so that each table is written in one go.

Grouping is safe because projections of different tables do not depend on each other, and writes to
one table keep their order: a later event may change the row of an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.store import writes as w
from actors.store.projections import project
from actors.store.tables import SESSIONS
from familiar.event import Event

Change = tuple[w.Write, list[w.Row]]


def history(events: Sequence[Event], texts: Mapping[str, str]) -> list[Change]:
    """The events themselves, and the texts as UTF-8 under their SHA-256."""
    rows: list[w.Row] = [
        (e.run_id, e.seq, e.epoch, e.at, e.body.type, e.body_json()) for e in events
    ]
    stored: list[w.Row] = []
    for sha256, text in texts.items():
        data = text.encode("utf-8", "replace")
        stored.append((sha256, len(data), data))
    return [(w.EVENT, rows), (w.TEXT, stored)]


def projected(events: Sequence[Event]) -> list[Change]:
    """What the events change in the projections. Neighbours of one kind become one change."""
    tables: dict[str, list[Change]] = {}
    for event in events:
        for write, row in project(event):
            group = tables.setdefault(write.table.name, [])
            if group and group[-1][0] is write:
                group[-1][1].append(row)
            else:
                group.append((write, [row]))
    # A run's row refers to its session's.
    sessions = tables.pop(SESSIONS.name, [])
    return [*sessions, *(change for group in tables.values() for change in group)]
