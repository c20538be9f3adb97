"""One owner with a lease, a count of the commits, indexes for lists; drop what nothing reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("messages", "tool_calls", "gpu_samples", "shards", "owners"):
        op.drop_table(table)
    op.add_column(
        "store",
        sa.Column("commits", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("store", sa.Column("owner_id", sa.String(), nullable=True))
    op.add_column("store", sa.Column("owner_host", sa.String(), nullable=True))
    op.add_column("store", sa.Column("owner_pid", sa.BigInteger(), nullable=True))
    op.add_column("store", sa.Column("lease_until", sa.Double(), nullable=True))
    op.execute("ALTER TABLE turns RENAME COLUMN mends TO repairs")
    op.drop_index("ix_runs_status", "runs")
    op.drop_index("ix_runs_submitted_at", "runs")
    op.create_index("ix_runs_submitted_at_run_id", "runs", ["submitted_at", "run_id"])
    op.create_index(
        "ix_runs_status_submitted_at_run_id", "runs", ["status", "submitted_at", "run_id"]
    )
