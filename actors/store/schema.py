"""Making, recognising and upgrading the schema of a database.

A new database is made from the metadata in one step and stamped with the newest revision; an older
one is brought up to date by Alembic. A database that is not ours is rejected and left as it is. A
SQLite file is made under another name and linked into place when it is complete, so a crash in
between leaves no half-made database where the next start would look for one.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, inspect, select, text

from actors.private_file import make_private_folder
from actors.store.address import Address
from actors.store.failure import foreign, store_error
from actors.store.tables import METADATA, STORE
from familiar.errors import StoreError

REVISION = "0004"
"""The newest migration, which `METADATA` describes."""

_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


class OldSchema(StoreError):
    """A database of an older version, which the next start of the service brings up to date."""


class NoTables(StoreError):
    """An empty PostgreSQL database, in which the first start of the service makes the tables."""


def create_schema(connection: Connection) -> None:
    """Every table, the newest revision and a new store id, in the caller's transaction."""
    METADATA.create_all(connection)
    connection.execute(text(_VERSION_TABLE))
    connection.execute(text("INSERT INTO alembic_version VALUES (:r)"), {"r": REVISION})
    connection.execute(
        insert(STORE).values(only=1, store_id=str(uuid.uuid4()), created_at=time.time(), epoch=0)
    )


def create_sqlite(address: Address) -> None:
    """Make the file of `address`. Does nothing when there is one by now."""
    path = address.path
    assert path is not None
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        make_private_folder(path.parent)
        draft.touch(exist_ok=False, mode=0o600)
        try:
            engine = Address(address.url, draft).engine(read_only=False)
            try:
                with engine.begin() as connection:
                    create_schema(connection)
            finally:
                engine.dispose()
            try:
                os.link(draft, path)
            except FileExistsError:
                return
            _sync_directory(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except Exception as error:
        raise store_error(error, path) from error


def create_postgresql(engine: Engine, address: Address) -> None:
    """Make the tables in an empty schema. Does nothing when ours are there by now."""
    with engine.begin() as connection:
        _lock(connection)
        tables = inspect(connection).get_table_names()
        if STORE.name in tables:
            return
        if tables:
            raise foreign(address, f"it holds other tables ({', '.join(sorted(tables)[:5])})")
        create_schema(connection)


def check_sqlite_file(path: Path, *, create: bool) -> bool:
    """Whether there is a file. Raises `StoreError` for a missing one that may not be created."""
    if path.is_dir():
        raise foreign(path, "it is a directory")
    if path.exists():
        if path.stat().st_size == 0:
            raise foreign(path, "the file is empty")
        return True
    if create:
        return False
    raise StoreError(
        f"There is no database at {path}.",
        remedy="Start the service once to create it, or set store.url to where it is.",
    )


def prepare_sqlite(writer: Engine) -> None:
    """Turn on WAL, which stays on in the file, and show that the file can be written."""
    with writer.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA journal_mode = WAL")
        connection.begin().rollback()


def recognise(connection: Connection, where: object) -> tuple[str, str]:
    """The store id and the revision of a database. Raises `StoreError` when it is not ours."""
    tables = inspect(connection).get_table_names()
    if not tables and connection.dialect.name == "postgresql":
        raise NoTables(
            f"The database {where} holds no tables yet.",
            remedy="Start the service once: the first start makes them.",
        )
    if STORE.name not in tables or "alembic_version" not in tables:
        raise foreign(where, "it holds other tables" if tables else "it holds no tables")
    store_id = connection.execute(select(STORE.c.store_id)).scalar()
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if not isinstance(store_id, str) or not isinstance(revision, str):
        raise foreign(where, "it has no store id")
    return store_id, revision


def check_revision(where: object, revision: str) -> None:
    """Raises `OldSchema` for a database of an older version, `StoreError` for one of a newer."""
    if revision > REVISION:
        raise StoreError(
            f"The database {where} was written by a newer version (schema {revision}; "
            f"this version knows {REVISION}).",
            remedy="Install that version or a later one.",
        )
    if revision < REVISION:
        raise OldSchema(
            f"The database {where} has schema {revision}; this version reads {REVISION}.",
            remedy="Start the service once: that brings it up to date.",
        )


def upgrade(writer: Engine, where: object, revision: str) -> None:
    """Bring an older database to `REVISION`. Raises `StoreError` for one that is newer.

    Of several that start at once, one migrates and the others wait for it."""
    try:
        check_revision(where, revision)
    except OldSchema:
        from actors.store.migrations import migrate

        with writer.begin() as connection:
            _lock(connection)
            _, revision = recognise(connection, where)
            if revision < REVISION:
                migrate(connection, REVISION)


def _lock(connection: Connection) -> None:
    """Wait until this transaction alone may change the schema. With SQLite a writer's transaction
    holds the file's lock by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('familiar.create'))"))


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
