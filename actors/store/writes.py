"""The statements of the write path, declared once from the tables and compiled once for a dialect.

A commit decides how soon a call can go on, so the write path hands constant SQL and tuples to the
driver and SQLAlchemy compiles each statement a single time per process. A `Write` is a declaration
(which table, which columns, what happens to a row that is there already); `compile_writes` makes
SQL of it. Apart from the event itself every write gives way to what is there: a projection can
never refuse an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

from sqlalchemy import Table, bindparam, literal_column, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.expression import ClauseElement, ColumnElement

from actors.store.tables import (
    DECISIONS,
    EDGES,
    EVENTS,
    FILES,
    GPU_SAMPLES,
    MESSAGES,
    MODEL_CALLS,
    OWNERS,
    RUNS,
    SESSIONS,
    SYNTHESES,
    TEXTS,
    TURNS,
    WORKER_CALLS,
)

OPEN_STATUSES = ("planned", "queued", "running")
Value = str | int | float | bool | bytes | None
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Upsert:
    """Insert `columns`; where the key is there already, overwrite `replaces` (nothing if empty).
    `replaces=None` is a plain insert, which refuses a key that is there. With `lowest`, the row
    with the lower value in that column stays, whichever came first."""

    table: Table
    columns: tuple[str, ...]
    replaces: tuple[str, ...] | None
    lowest: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """Set `columns` on the rows whose `where` columns match. The row is `columns`, then `where`.
    `only_open` leaves calls alone that have ended."""

    table: Table
    columns: tuple[str, ...]
    where: tuple[str, ...]
    only_open: bool = False


Write = Upsert | Update


def _upsert(table: Table, *columns: str) -> Upsert:
    keys = {column.name for column in table.primary_key}
    return Upsert(table, columns, tuple(column for column in columns if column not in keys))


def _all(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


EVENT = Upsert(EVENTS, _all(EVENTS), None)
TEXT = Upsert(TEXTS, _all(TEXTS), ())
OWNER = Upsert(OWNERS, _all(OWNERS), ())
GPU_SAMPLE = _upsert(GPU_SAMPLES, *_all(GPU_SAMPLES))

SESSION = Upsert(SESSIONS, _all(SESSIONS), ("workspace", "created_at"), lowest="created_at")
RUN_SUBMITTED = _upsert(
    RUNS,
    "run_id",
    "session_id",
    "status",
    "submitted_at",
    "goal_sha256",
    "goal_size",
    "files_wanted",
    "workspace",
    "config_hash",
    "idempotency_key",
)
RUN_CANCELLING = Update(RUNS, ("status", "cancel_requested_at", "cancel_reason"), ("run_id",))
RUN_ENDED = Update(RUNS, ("status", "ended_at", "reason", "failure_class"), ("run_id",))
TURN_STARTED = _upsert(TURNS, "run_id", "turn", "started_at")
TURN_PLANNED = _upsert(
    TURNS, "run_id", "turn", "planned_at", "planner", "continues", "mends", "reason"
)
CALL_PLANNED = _upsert(
    WORKER_CALLS,
    "run_id",
    "call_id",
    "kind",
    "status",
    "turn",
    "position",
    "alias",
    "output_file",
    "prompt",
    "needs",
)
CALL_RUNNING = _upsert(
    WORKER_CALLS,
    "run_id",
    "call_id",
    "kind",
    "status",
    "turn",
    "alias",
    "output_file",
    "attempt",
    "failure_class",
)
CALL_STATUS = Update(WORKER_CALLS, ("status", "failure_class"), ("run_id", "call_id"))
CALL_SKIPPED = Update(WORKER_CALLS, ("status", "skipped_because"), ("run_id", "call_id"))
CALLS_LEFT = Update(WORKER_CALLS, ("status",), ("run_id",), only_open=True)
EDGE = Upsert(EDGES, _all(EDGES), ())
TRY_DISPATCHED = _upsert(
    MODEL_CALLS,
    "run_id",
    "call_id",
    "attempt",
    "kind",
    "status",
    "turn",
    "alias",
    "mode",
    "pool",
    "replica",
    "devices",
    "queued_at",
    "dispatched_at",
    "prompt_sha256",
    "prompt_size",
    "prompt_name",
    "prompt_version",
    "grammar",
    "output_file",
    "continues_sha256",
    "continues_size",
)
TRY_ADOPTED = Update(MODEL_CALLS, ("adopted_by",), ("run_id", "call_id", "attempt"))
TRY_SUCCEEDED = _upsert(
    MODEL_CALLS,
    "run_id",
    "call_id",
    "attempt",
    "kind",
    "status",
    "started_at",
    "first_token_at",
    "ended_at",
    "longest_gap_s",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "raw_sha256",
    "raw_size",
    "text_sha256",
    "text_size",
    "finish_reason",
    "repairs",
)
TRY_FAILED = _upsert(
    MODEL_CALLS,
    "run_id",
    "call_id",
    "attempt",
    "kind",
    "status",
    "started_at",
    "first_token_at",
    "ended_at",
    "longest_gap_s",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "raw_sha256",
    "raw_size",
    "failure_class",
    "failure_message",
    "failure_evidence",
    "partial",
)
TRIES_LEFT = Update(MODEL_CALLS, ("status",), ("run_id",), only_open=True)
MESSAGE = _upsert(MESSAGES, *_all(MESSAGES))
DECISION = _upsert(DECISIONS, *_all(DECISIONS))
SYNTHESIS = _upsert(SYNTHESES, *_all(SYNTHESES))
FILE = _upsert(FILES, *_all(FILES))

WRITES: tuple[Write, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Upsert | Update)
)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL of one `Write` for one dialect; its parameters stand in the order of the row."""

    sql: str
    table: str


@cache
def compile_writes(backend: str) -> Mapping[Write, Statement]:
    """Every write as SQL of `backend` (`sqlite` or `postgresql`)."""
    name: str
    style: Literal["qmark", "format"]
    name, style = ("pysqlite", "qmark") if backend == "sqlite" else ("psycopg", "format")
    kind = cast("type[DefaultDialect]", make_url(f"{backend}+{name}://").get_dialect())
    dialect = kind(paramstyle=style)
    return {write: _compile(write, dialect) for write in WRITES}


def _compile(write: Write, dialect: Dialect) -> Statement:
    expected: Iterable[str]
    if isinstance(write, Update):
        clause: ClauseElement = _update(write)
        expected = write.columns + tuple(f"key_{column}" for column in write.where)
    else:
        clause = _insert(write, dialect)
        expected = write.columns
    compiled = clause.compile(dialect=dialect)
    order = tuple(getattr(compiled, "positiontup", None) or ())
    if order != tuple(expected):
        raise RuntimeError(
            f"a write to {write.table.name} binds {order}, and its rows are {tuple(expected)}; "
            "declare its columns in the order of the table"
        )
    return Statement(str(compiled), write.table.name)


def _insert(write: Upsert, dialect: Dialect) -> ClauseElement:
    # Both have the same upsert, in classes that do not know of each other.
    insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    statement: sqlite.Insert | postgresql.Insert = insert(write.table)
    statement = statement.values({column: bindparam(column) for column in write.columns})
    if write.replaces is None:
        return statement
    keys = [column.name for column in write.table.primary_key]
    if not write.replaces:
        return statement.on_conflict_do_nothing(index_elements=keys)
    changes = {column: statement.excluded[column] for column in write.replaces}
    where = None
    if write.lowest is not None:
        where = statement.excluded[write.lowest] < write.table.c[write.lowest]
    return statement.on_conflict_do_update(index_elements=keys, set_=changes, where=where)


def _update(write: Update) -> ClauseElement:
    columns = write.table.c
    statement = update(write.table).ordered_values(
        *((columns[name], bindparam(name)) for name in write.columns)
    )
    for name in write.where:
        statement = statement.where(columns[name] == bindparam(f"key_{name}"))
    if write.only_open:
        # Constants rather than parameters: what is open is no part of a row.
        open_statuses: list[ColumnElement[str]] = [
            literal_column(f"'{status}'") for status in OPEN_STATUSES
        ]
        statement = statement.where(columns["status"].in_(open_statuses))
    return statement
