"""The tables of a database as revision 0001 had them. Nothing makes one today: a new database is
made from the metadata, and revision 0001 is where the migrations begin.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from actors.store import migrations


def create(connection: Connection) -> None:
    """Make the tables and mark them as of revision 0001."""
    context = MigrationContext.configure(connection)
    op = Operations(context)
    op.create_table(
        "decisions",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.Column("call_id", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("choice", sa.String(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_decisions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "edges",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("depends_on", sa.String(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "call_id", "depends_on", name=op.f("pk_edges")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_events")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "files",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("path", sa.String(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("git_commit", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "path", name=op.f("pk_files")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gpu_samples",
        sa.Column("node", sa.String(), autoincrement=False, nullable=False),
        sa.Column("device", sa.String(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("utilization", sa.Double(), nullable=True),
        sa.Column("memory_used", sa.BigInteger(), nullable=True),
        sa.Column("memory_total", sa.BigInteger(), nullable=True),
        sa.Column("power_w", sa.Double(), nullable=True),
        sa.Column("temperature_c", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("node", "device", "at", name=op.f("pk_gpu_samples")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "messages",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=True),
        sa.Column("text_sha256", sa.String(), nullable=True),
        sa.Column("text_size", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_messages")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model_calls",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.Column("alias", sa.String(), nullable=True),
        sa.Column("mode", sa.String(), nullable=True),
        sa.Column("pool", sa.String(), nullable=True),
        sa.Column("replica", sa.String(), nullable=True),
        sa.Column("devices", sa.Text(), nullable=True),
        sa.Column("queued_at", sa.Double(), nullable=True),
        sa.Column("dispatched_at", sa.Double(), nullable=True),
        sa.Column("prompt_sha256", sa.String(), nullable=True),
        sa.Column("prompt_size", sa.BigInteger(), nullable=True),
        sa.Column("prompt_name", sa.String(), nullable=True),
        sa.Column("prompt_version", sa.String(), nullable=True),
        sa.Column("grammar", sa.Text(), nullable=True),
        sa.Column("output_file", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("first_token_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("longest_gap_s", sa.Double(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=True),
        sa.Column("raw_sha256", sa.String(), nullable=True),
        sa.Column("raw_size", sa.BigInteger(), nullable=True),
        sa.Column("text_sha256", sa.String(), nullable=True),
        sa.Column("text_size", sa.BigInteger(), nullable=True),
        sa.Column("finish_reason", sa.String(), nullable=True),
        sa.Column("repairs", sa.Text(), nullable=True),
        sa.Column("failure_class", sa.String(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("failure_evidence", sa.Text(), nullable=True),
        sa.Column("partial", sa.Text(), nullable=True),
        sa.Column("adopted_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "call_id", "attempt", name=op.f("pk_model_calls")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "owners",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_owners")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shards",
        sa.Column("shard", sa.String(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_shards")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "store",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("store_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("only", name=op.f("pk_store")),
    )
    op.create_table(
        "syntheses",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("text_sha256", sa.String(), nullable=True),
        sa.Column("text_size", sa.BigInteger(), nullable=True),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("adopted", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "version", name=op.f("pk_syntheses")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "texts",
        sa.Column("sha256", sa.String(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_texts")),
    )
    op.create_table(
        "tool_calls",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("arguments_sha256", sa.String(), nullable=True),
        sa.Column("arguments_size", sa.BigInteger(), nullable=True),
        sa.Column("result_sha256", sa.String(), nullable=True),
        sa.Column("result_size", sa.BigInteger(), nullable=True),
        sa.Column("failure_class", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint(
            "run_id", "call_id", "attempt", "position", name=op.f("pk_tool_calls")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "turns",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("planned_at", sa.Double(), nullable=True),
        sa.Column("planner", sa.String(), nullable=True),
        sa.Column("continues", sa.Boolean(), nullable=True),
        sa.Column("mends", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "turn", name=op.f("pk_turns")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "worker_calls",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("alias", sa.String(), nullable=True),
        sa.Column("output_file", sa.Text(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("needs", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("failure_class", sa.String(), nullable=True),
        sa.Column("skipped_because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "call_id", name=op.f("pk_worker_calls")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("submitted_at", sa.Double(), nullable=False),
        sa.Column("goal_sha256", sa.String(), nullable=True),
        sa.Column("goal_size", sa.BigInteger(), nullable=True),
        sa.Column("files_wanted", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("cancel_requested_at", sa.Double(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("failure_class", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_runs_session_id")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_runs_session_id"), "runs", ["session_id"], unique=False)
    op.create_index(op.f("ix_runs_status"), "runs", ["status"], unique=False)
    op.create_index(op.f("ix_runs_submitted_at"), "runs", ["submitted_at"], unique=False)
    op.create_index("uq_runs_idempotency_key", "runs", ["idempotency_key"], unique=True)
    context.stamp(ScriptDirectory(str(migrations.__path__[0])), "0001")
