"""Continued tries, and where a synthesis comes from: its prompt, and its diff to the one before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_calls", sa.Column("continues_sha256", sa.String(), nullable=True))
    op.add_column("model_calls", sa.Column("continues_size", sa.BigInteger(), nullable=True))
    op.add_column("syntheses", sa.Column("prompt_name", sa.String(), nullable=True))
    op.add_column("syntheses", sa.Column("prompt_version", sa.String(), nullable=True))
    op.add_column("syntheses", sa.Column("previous", sa.Integer(), nullable=True))
    op.add_column("syntheses", sa.Column("diff_sha256", sa.String(), nullable=True))
    op.add_column("syntheses", sa.Column("diff_size", sa.BigInteger(), nullable=True))
