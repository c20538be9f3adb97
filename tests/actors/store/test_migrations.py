"""The migrations lead to what the metadata describes, on both databases."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from actors.store import migrations
from actors.store.address import Address
from actors.store.schema import REVISION, create_schema
from actors.store.tables import METADATA
from tests.actors.store.conftest import NewUrl


def _shape(connection: Connection) -> dict[str, Any]:
    """Everything that the database knows about its tables."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master"))
        return {name: "".join((sql or "").split()) for name, sql in rows}
    found = inspect(connection)
    return {
        table: (
            [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            found.get_pk_constraint(table),
            sorted(found.get_indexes(table), key=str),
            found.get_foreign_keys(table),
        )
        for table in found.get_table_names()
    }


def _engine(url: str) -> Any:
    address = Address.parse(url)
    if address.path is not None:
        address.path.touch()
    return address.engine(read_only=False)


def test_a_migrated_database_is_what_the_metadata_says(new_url: NewUrl) -> None:
    engine = _engine(new_url())
    with engine.begin() as connection:
        migrations.migrate(connection, REVISION)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert context.get_current_revision() == REVISION
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_database_made_at_once_is_the_same_as_a_migrated_one(new_url: NewUrl) -> None:
    migrated, made = _engine(new_url()), _engine(new_url())
    with migrated.begin() as connection:
        migrations.migrate(connection, REVISION)
    with made.begin() as connection:
        create_schema(connection)
    with migrated.connect() as one, made.connect() as other:
        left, right = _shape(one), _shape(other)
    assert len(left) >= 12
    assert left == right
    migrated.dispose()
    made.dispose()


def test_the_newest_revision_is_the_one_that_the_code_expects() -> None:
    directory = ScriptDirectory(str(migrations.__path__[0]))
    assert directory.get_heads() == [REVISION]
