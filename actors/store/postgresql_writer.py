"""Writing to PostgreSQL: a batch is one pipeline, and a lost connection is made anew.

A connection that breaks while it commits leaves open whether it did; `Store.append` finds out
before it repeats a batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import Engine

from actors.store.writer import Writer
from actors.store.writes import Row


class PostgresqlWriter(Writer):
    """One psycopg connection outside of the readers' pool."""

    def __init__(self, engine: Engine, where: object) -> None:
        super().__init__("postgresql", where)
        self._engine = engine
        self._connection: psycopg.Connection[tuple[Any, ...]] = self._connect()
        self._pipeline = self._connection.pipeline()

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        assert isinstance(connection, psycopg.Connection)
        return connection

    @staticmethod
    def _marks(sql: str) -> str:
        return sql.replace("?", "%s")

    def _begin(self) -> None:
        if self._connection.closed:
            self._connection = self._connect()
        # psycopg begins a transaction with the first statement.
        self._pipeline = self._connection.pipeline()
        self._pipeline.__enter__()
        self._cursor = self._connection.cursor()

    def _query(self, sql: str, row: Row) -> Any:
        # Fetching sends what the pipeline holds so far, and waits for it.
        return self._cursor.execute(sql, _without_nul(row)).fetchone()

    def _write(self, sql: str, rows: Sequence[Row]) -> None:
        self._cursor.executemany(sql, [_without_nul(row) for row in rows])

    def _commit(self) -> None:
        # Inside of the pipeline, so that writing and committing are one round trip.
        self._connection.commit()
        self._pipeline.__exit__(None, None, None)

    def _roll_back(self) -> None:
        # The pipeline reports once more what made the transaction fail.
        with contextlib.suppress(Exception):
            self._pipeline.__exit__(None, None, None)
        try:
            self._connection.rollback()
        except Exception:
            # The server ends the transaction of a connection that is gone; the next one is new.
            self._connection.close()

    def close(self) -> None:
        self._connection.close()


def _without_nul(row: Row) -> Row:
    """PostgreSQL's text type has no NUL. Events hold theirs escaped, texts are bytes."""
    if any(type(value) is str and "\x00" in value for value in row):
        return tuple(v.replace("\x00", "\ufffd") if isinstance(v, str) else v for v in row)
    return row
