"""The migrations lead to what the metadata describes, on both databases."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from actors.store import migrations
from actors.store.address import Address
from actors.store.queries import Reader
from actors.store.schema import REVISION, OldSchema, create_schema
from actors.store.store import Store
from actors.store.tables import METADATA
from tests.actors.store import first_schema
from tests.actors.store.conftest import NewUrl
from tests.actors.store.histories import number, story


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
        first_schema.create(connection)
        migrations.migrate(connection, REVISION)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert context.get_current_revision() == REVISION
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_database_made_at_once_is_the_same_as_a_migrated_one(new_url: NewUrl) -> None:
    migrated, made = _engine(new_url()), _engine(new_url())
    with migrated.begin() as connection:
        first_schema.create(connection)
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


# --- a database of the version before


def _older(url: str) -> None:
    """A database as schema 0002 had it, with a run that is open and one that has ended."""
    engine = _engine(url)
    with engine.begin() as connection:
        first_schema.create(connection)
        migrations.migrate(connection, "0002")
        connection.execute(text("INSERT INTO store VALUES (1, 'the-id', 1.0, 7)"))
        connection.execute(text("INSERT INTO shards VALUES ('main', 7)"))
        connection.execute(text("INSERT INTO sessions VALUES ('session-1', '/w', 1.0)"))
        for run_id, bodies in {"ended": story(), "open": story()[:8]}.items():
            events = number(bodies, 7, run_id)
            connection.execute(
                text("INSERT INTO events VALUES (:run_id, :seq, :epoch, :at, :type, :body)"),
                [
                    {
                        "run_id": event.run_id,
                        "seq": event.seq,
                        "epoch": event.epoch,
                        "at": event.at,
                        "type": event.body.type,
                        "body": event.body_json(),
                    }
                    for event in events
                ],
            )
            connection.execute(
                text(
                    "INSERT INTO runs (run_id, session_id, status, submitted_at, files_wanted, "
                    "workspace, config_hash) VALUES (:run, 'session-1', :status, 1, '[]', '/w', '')"
                ),
                {"run": run_id, "status": "failed" if run_id == "ended" else "running"},
            )
            connection.execute(text("INSERT INTO owners VALUES (:run, 'main')"), {"run": run_id})
        connection.execute(
            text("INSERT INTO turns (run_id, turn, mends) VALUES ('ended', 1, :mends)"),
            {"mends": '[{"code": "path", "message": "m"}]'},
        )
    engine.dispose()


def test_a_database_of_the_version_before_opens_and_its_runs_go_on(new_url: NewUrl) -> None:
    url = new_url()
    _older(url)
    with pytest.raises(OldSchema, match="0002"):
        Reader.open(url)
    store = Store.open(url, create=False, expected_id="the-id")
    reader = Reader.open(url)
    assert store.open_runs() == ["open"]
    assert [repair["code"] for repair in reader.plan("ended")[0].turn.repairs] == ["path"]
    assert [event.body for event in reader.events("ended")] == story()

    epoch = store.take_epoch(lease_s=60)
    assert epoch == 8
    assert store.last_seq("open") == 8
    store.append(number(story()[8:10], epoch, "open", first=9), {})
    assert reader.head("open").last_seq == 10
    reader.close()
    store.close()


def test_services_that_start_at_once_upgrade_once(new_url: NewUrl) -> None:
    url = new_url()
    _older(url)
    ids: list[str] = []

    def start() -> None:
        store = Store.open(url, create=False)
        ids.append(store.store_id)
        store.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids == ["the-id"] * 4
