"""Alembic migrations, run from code: there is no alembic.ini.

A revision is a file in `versions/`, written by hand, with a four-digit number that follows the one
before. `actors.store.schema.REVISION` names the newest. Once released, a revision never changes.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection


def migrate(connection: Connection, revision: str) -> None:
    """Upgrade the database behind `connection` to `revision` in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
