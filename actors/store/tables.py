"""The one SQLAlchemy metadata: every table of a familiar database, for SQLite and PostgreSQL.

`events` and `texts` are the history and are only ever added to. `store` has one row: the database's
id, the epoch that may write, the number of commits so far, and the owner with its lease. Everything
else is a projection: written in the transaction of its events, and rebuilt from them at any time.

Columns that hold lists or mappings hold JSON as text, so that both databases give back the same
bytes. Times are seconds since the Unix epoch. Texts are kept as UTF-8 bytes, because PostgreSQL's
text type cannot hold NUL and models can write it. Projections have no foreign keys between each
other: they can be rebuilt in any order, and a projection can never reject an event.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key(name: str, kind: type[String] | type[Integer] = String) -> Column[object]:
    return Column(name, kind(), primary_key=True, nullable=False, autoincrement=False)


def _text_ref(name: str) -> tuple[Column[object], Column[object]]:
    return Column(f"{name}_sha256", String()), Column(f"{name}_size", BigInteger())


STORE = Table(
    "store",
    METADATA,
    _key("only", Integer),
    Column("store_id", String(), nullable=False),
    Column("created_at", Double(), nullable=False),
    Column("epoch", BigInteger(), nullable=False),
    Column("commits", BigInteger(), server_default=text("0"), nullable=False),
    Column("owner_id", String()),
    Column("owner_host", String()),
    Column("owner_pid", BigInteger()),
    Column("lease_until", Double()),
)

EVENTS = Table(
    "events",
    METADATA,
    _key("run_id"),
    _key("seq", Integer),
    Column("epoch", BigInteger(), nullable=False),
    Column("at", Double(), nullable=False),
    Column("type", String(), nullable=False),
    Column("body", Text(), nullable=False),
    sqlite_with_rowid=False,
)

TEXTS = Table(
    "texts",
    METADATA,
    _key("sha256"),
    Column("size", BigInteger(), nullable=False),
    Column("body", LargeBinary(), nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    _key("session_id"),
    Column("workspace", Text(), nullable=False),
    Column("created_at", Double(), nullable=False),
    sqlite_with_rowid=False,
)

RUNS = Table(
    "runs",
    METADATA,
    _key("run_id"),
    Column("session_id", String(), ForeignKey("sessions.session_id"), nullable=False, index=True),
    Column("status", String(), nullable=False),
    Column("submitted_at", Double(), nullable=False),
    *_text_ref("goal"),
    Column("files_wanted", Text(), nullable=False),
    Column("workspace", Text(), nullable=False),
    Column("config_hash", String(), nullable=False),
    Column("idempotency_key", String()),
    Column("cancel_requested_at", Double()),
    Column("cancel_reason", Text()),
    Column("ended_at", Double()),
    Column("reason", Text()),
    Column("failure_class", String()),
    Index("uq_runs_idempotency_key", "idempotency_key", unique=True),
    # The list of runs, newest first, and the runs of one status, without a look at the rows.
    Index("ix_runs_submitted_at_run_id", "submitted_at", "run_id"),
    Index("ix_runs_status_submitted_at_run_id", "status", "submitted_at", "run_id"),
    sqlite_with_rowid=False,
)

TURNS = Table(
    "turns",
    METADATA,
    _key("run_id"),
    _key("turn", Integer),
    Column("started_at", Double()),
    Column("planned_at", Double()),
    Column("planner", String()),
    Column("continues", Boolean()),
    Column("repairs", Text()),
    Column("reason", Text()),
    sqlite_with_rowid=False,
)

WORKER_CALLS = Table(
    "worker_calls",
    METADATA,
    _key("run_id"),
    _key("call_id"),
    Column("kind", String(), nullable=False),
    Column("status", String(), nullable=False),
    Column("turn", Integer()),
    Column("position", Integer()),
    Column("alias", String()),
    Column("output_file", Text()),
    Column("prompt", Text()),
    Column("needs", Text()),
    Column("attempt", Integer()),
    Column("failure_class", String()),
    Column("skipped_because", Text()),
    sqlite_with_rowid=False,
)

EDGES = Table(
    "edges",
    METADATA,
    _key("run_id"),
    _key("call_id"),
    _key("depends_on"),
    sqlite_with_rowid=False,
)

MODEL_CALLS = Table(
    "model_calls",
    METADATA,
    _key("run_id"),
    _key("call_id"),
    _key("attempt", Integer),
    Column("kind", String(), nullable=False),
    Column("status", String(), nullable=False),
    Column("turn", Integer()),
    Column("alias", String()),
    Column("mode", String()),
    Column("pool", String()),
    Column("replica", String()),
    Column("devices", Text()),
    Column("queued_at", Double()),
    Column("dispatched_at", Double()),
    *_text_ref("prompt"),
    Column("prompt_name", String()),
    Column("prompt_version", String()),
    Column("grammar", Text()),
    Column("output_file", Text()),
    Column("started_at", Double()),
    Column("first_token_at", Double()),
    Column("ended_at", Double()),
    Column("longest_gap_s", Double()),
    Column("prompt_tokens", BigInteger()),
    Column("output_tokens", BigInteger()),
    Column("cached_tokens", BigInteger()),
    *_text_ref("raw"),
    *_text_ref("text"),
    Column("finish_reason", String()),
    Column("repairs", Text()),
    Column("failure_class", String()),
    Column("failure_message", Text()),
    Column("failure_evidence", Text()),
    Column("partial", Text()),
    Column("adopted_by", String()),
    *_text_ref("continues"),
    Column("reasoning", Text()),
    sqlite_with_rowid=False,
)

DECISIONS = Table(
    "decisions",
    METADATA,
    _key("run_id"),
    _key("seq", Integer),
    Column("at", Double(), nullable=False),
    Column("kind", String(), nullable=False),
    Column("turn", Integer()),
    Column("call_id", String()),
    Column("attempt", Integer()),
    Column("choice", String(), nullable=False),
    Column("reasons", Text(), nullable=False),
    Column("detail", Text(), nullable=False),
    sqlite_with_rowid=False,
)

SYNTHESES = Table(
    "syntheses",
    METADATA,
    _key("run_id"),
    _key("version", Integer),
    Column("seq", Integer(), nullable=False),
    Column("at", Double(), nullable=False),
    Column("turn", Integer(), nullable=False),
    Column("kind", String(), nullable=False),
    Column("source", String(), nullable=False),
    *_text_ref("text"),
    Column("inputs", Text(), nullable=False),
    Column("adopted", Boolean(), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("prompt_name", String()),
    Column("prompt_version", String()),
    Column("previous", Integer()),
    *_text_ref("diff"),
    sqlite_with_rowid=False,
)

FILES = Table(
    "files",
    METADATA,
    _key("run_id"),
    _key("path"),
    Column("seq", Integer(), nullable=False),
    Column("at", Double(), nullable=False),
    Column("call_id", String(), nullable=False),
    Column("attempt", Integer(), nullable=False),
    Column("sha256", String(), nullable=False),
    Column("size", BigInteger(), nullable=False),
    Column("git_commit", String(), nullable=False),
    sqlite_with_rowid=False,
)

PROJECTIONS: tuple[Table, ...] = (
    SESSIONS,
    RUNS,
    TURNS,
    WORKER_CALLS,
    EDGES,
    MODEL_CALLS,
    DECISIONS,
    SYNTHESES,
    FILES,
)
"""In the order in which they are written, so that a run finds its session."""
