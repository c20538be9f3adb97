"""Writing to SQLite: one connection, WAL, and the file's write lock from the first statement on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.store.failure import store_error
from actors.store.schema import open_sqlite_writer
from actors.store.writer import Writer
from actors.store.writes import Row


class SqliteWriter(Writer):
    """WAL with synchronous=FULL: a commit is on the disk when it returns."""

    def __init__(self, path: Path) -> None:
        super().__init__("sqlite", path)
        self._connection = open_sqlite_writer(path)
        self._cursor = self._connection.cursor()

    @staticmethod
    def _marks(sql: str) -> str:
        return sql

    def _begin(self) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")

    def _query(self, sql: str, row: Row) -> Any:
        return self._cursor.execute(sql, row).fetchone()

    def _write(self, sql: str, rows: Sequence[Row]) -> None:
        if len(rows) == 1:
            self._cursor.execute(sql, rows[0])
        else:
            self._cursor.executemany(sql, rows)

    def _commit(self) -> None:
        self._cursor.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._cursor.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise store_error(error, self.where) from error

    def close(self) -> None:
        self._connection.close()
