"""Alembic's entry point. The connection comes from `migrate`; there is no offline mode."""

from __future__ import annotations

from alembic import context

from actors.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
