"""How rows are written: one upsert and one update for both databases, built from the columns.

`put` and `change` say what an event changes, by the names of columns. `write` carries such changes
out, rows of one shape together. Apart from the events themselves every write gives way to a row
that is there: a projection can never reject an event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, Dialect, String, Table, bindparam, insert, literal_column, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert, Update

from actors.store.tables import EVENTS, SESSIONS, TEXTS
from familiar.event import Event

OPEN_STATUSES = ("planned", "queued", "running")
Value = str | int | float | bool | bytes | None


class Shape(NamedTuple):
    """Rows that one statement writes. `keys` are the columns of an update's WHERE; without them
    it is an upsert, in which the row with the lower value of `lowest`, if given, stays; a `plain`
    one fails where the key is taken."""

    table: Table
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ()
    only_open: bool = False
    plain: bool = False
    lowest: str | None = None


Row = dict[str, Value]
Change = tuple[Shape, Row]


def put(table: Table, /, **values: Value) -> Change:
    """Insert a row. Where its key is there already, overwrite the other columns given."""
    return Shape(table, tuple(values)), values


def put_lowest(table: Table, column: str, /, **values: Value) -> Change:
    """Like `put`, but of two rows with one key the one with the lower value of `column` stays."""
    return Shape(table, tuple(values), lowest=column), values


def change(table: Table, keys: Row, /, **values: Value) -> Change:
    """Set columns of the rows with these keys."""
    return Shape(table, tuple(values), tuple(keys)), {**values, **_keyed(keys)}


def change_open(table: Table, keys: Row, /, **values: Value) -> Change:
    """Like `change`, but calls that have ended stay as they are."""
    return Shape(table, tuple(values), tuple(keys), only_open=True), {**values, **_keyed(keys)}


def _keyed(keys: Row) -> Row:
    return {f"key_{name}": value for name, value in keys.items()}


def write_history(
    connection: Connection, events: Sequence[Event], texts: Mapping[str, str]
) -> None:
    """The events themselves, and the texts as UTF-8 under their SHA-256."""
    rows: list[Row] = [
        {
            "run_id": e.run_id,
            "seq": e.seq,
            "epoch": e.epoch,
            "at": e.at,
            "type": e.body.type,
            "body": e.body_json(),
        }
        for e in events
    ]
    _execute(connection, Shape(EVENTS, tuple(rows[0]), plain=True), rows)
    stored: list[Change] = []
    for sha256, text in texts.items():
        data = text.encode("utf-8", "replace")
        stored.append(put(TEXTS, sha256=sha256, size=len(data), body=data))
    write(connection, stored)


def write(connection: Connection, changes: Iterable[Change]) -> None:
    """Carry out `changes`. Tables do not depend on each other, but for a run on its session; the
    changes of one table keep their order, for a later one may change the row of an earlier one."""
    tables: dict[str, list[Change]] = {SESSIONS.name: []}
    for one in changes:
        tables.setdefault(one[0].table.name, []).append(one)
    dialect = connection.dialect.name
    for group in tables.values():
        for shape, alike in groupby(group, itemgetter(0)):
            rows = [row for _, row in alike]
            held = [_without_nul(row) for row in rows] if dialect == "postgresql" else rows
            _execute(connection, shape, held)


def write_one(connection: Connection, one: Change) -> int:
    """Carry out one change at once; how many rows it changed."""
    shape, row = one
    return _execute(connection, shape, [row])


def _execute(connection: Connection, shape: Shape, rows: list[Row]) -> int:
    """Run the statement of a shape for each row; how many rows it changed.

    For SQLite the compiled text goes to the driver: SQLAlchemy's way there costs ten times the
    processor time of the statement itself, which every call of a run would pay a dozen times."""
    if connection.dialect.name != "sqlite":
        return connection.execute(_statement(shape, connection.dialect.name), rows).rowcount
    sql, places = _compiled(shape, connection.dialect)
    values = [tuple([row[name] for name in places]) for row in rows]
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    try:
        return driver.executemany(sql, values).rowcount
    except sqlite3.Error as error:
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error


@cache
def _compiled(shape: Shape, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The SQL text, and the order of its parameters."""
    found = _statement(shape, dialect.name).compile(dialect=dialect)
    return found.string, tuple(found.positiontup or ())


@cache
def _statement(shape: Shape, dialect: str) -> Insert | Update:
    if shape.plain:
        return insert(shape.table).values({name: bindparam(name) for name in shape.columns})
    return _update(shape) if shape.keys else _upsert(shape, dialect)


def _upsert(shape: Shape, dialect: str) -> Insert:
    # Both have the same upsert, in classes that do not know of each other.
    dialect_insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement: sqlite.Insert | postgresql.Insert = dialect_insert(shape.table)
    statement = statement.values({name: bindparam(name) for name in shape.columns})
    keys = [column.name for column in shape.table.primary_key]
    replaced = {name: statement.excluded[name] for name in shape.columns if name not in keys}
    if shape.table is TEXTS or not replaced:
        return statement.on_conflict_do_nothing(index_elements=keys)
    where = None
    if shape.lowest is not None:
        where = statement.excluded[shape.lowest] < shape.table.c[shape.lowest]
    return statement.on_conflict_do_update(index_elements=keys, set_=replaced, where=where)


def _update(shape: Shape) -> Update:
    columns = shape.table.c
    statement = update(shape.table).values({name: bindparam(name) for name in shape.columns})
    statement = statement.where(*(columns[name] == bindparam(f"key_{name}") for name in shape.keys))
    if not shape.only_open:
        return statement
    # Constants rather than parameters: several rows cannot share parameters of an IN.
    constants = [literal_column(f"'{status}'", String) for status in OPEN_STATUSES]
    return statement.where(columns.status.in_(constants))


def _without_nul(row: Row) -> Row:
    """PostgreSQL's text type has no NUL. Events hold theirs escaped, texts are bytes."""
    if any(type(value) is str and "\x00" in value for value in row.values()):
        return {k: v.replace("\x00", "\ufffd") if isinstance(v, str) else v for k, v in row.items()}
    return row
