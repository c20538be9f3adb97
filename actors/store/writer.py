"""The one connection that writes, for each database.

A transaction is entered with `with writer as transaction`, and is committed at the end or leaves
nothing behind. Parameters go to the driver as they are: the SQL was compiled once, when the
process began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Engine

from actors.store.failure import store_error
from actors.store.writes import Row, Write, compile_writes

DIALECT_LOCK = {"sqlite": "", "postgresql": " FOR SHARE"}


class Writer(ABC):
    """A database that can be written to, by one thread at a time."""

    def __init__(self, backend: str, where: object) -> None:
        self.where = where
        self._sql = {write: s.sql for write, s in compile_writes(backend).items()}
        lock = DIALECT_LOCK[backend]
        self._epoch_sql = self._marks(f"SELECT epoch FROM shards WHERE shard = ?{lock}")

    def __enter__(self) -> Writer:
        try:
            self._begin()
        except Exception as error:
            raise store_error(error, self.where) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._commit()
                return
            except Exception as failed:
                error = failed
        self._roll_back()
        if isinstance(error, Exception):
            raise store_error(error, self.where) from error

    def shard_epoch(self, shard: str) -> int | None:
        """The epoch that may write to `shard`, held as it is until the transaction ends."""
        row = self._query(self._epoch_sql, (shard,))
        return row[0] if row else None

    def write(self, write: Write, rows: Sequence[Row]) -> None:
        """Carry out `write` for each row, in order."""
        self._write(self._sql[write], rows)

    def write_all(self, changes: Iterable[tuple[Write, Sequence[Row]]]) -> None:
        """Carry out `changes` in order."""
        for write, rows in changes:
            if rows:
                self._write(self._sql[write], rows)

    def execute(self, sql: str, row: Row = ()) -> None:
        """Run SQL whose parameters are marked `?`."""
        self._write(self._marks(sql), [row])

    def query(self, sql: str, row: Row = ()) -> Any:
        """The first row of the answer to SQL whose parameters are marked `?`, or None."""
        return self._query(self._marks(sql), row)

    @staticmethod
    @abstractmethod
    def _marks(sql: str) -> str: ...

    @abstractmethod
    def _query(self, sql: str, row: Row) -> Any: ...

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _write(self, sql: str, rows: Sequence[Row]) -> None: ...

    @abstractmethod
    def _commit(self) -> None: ...

    @abstractmethod
    def _roll_back(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


def open_writer(engine: Engine, path: Path | None, where: object) -> Writer:
    """The writer of the database behind `engine`; a SQLite one when there is a `path`."""
    # Each brings its driver, and psycopg is an extra.
    try:
        if path is not None:
            from actors.store.sqlite_writer import SqliteWriter

            return SqliteWriter(path)
        from actors.store.postgresql_writer import PostgresqlWriter

        return PostgresqlWriter(engine, where)
    except Exception as error:
        raise store_error(error, where) from error
