"""Where a database is: a store URL read into an address, and the engines that open it.

Two kinds exist. `sqlite:///path` is one file on the node that holds it (`~` is the user's home);
`postgresql://…` is a server. A SQLite file is always opened as something that exists: no typo in
a path can quietly make a new, empty database.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from familiar.errors import StoreError

BUSY_TIMEOUT_S = 10.0
MAX_READERS = 16


@dataclass(frozen=True, slots=True)
class Address:
    """A store URL that was understood. `path` is set for SQLite only, and absolute."""

    url: URL
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises `StoreError` for a URL that names neither a SQLite file nor PostgreSQL."""
        try:
            url = make_url(text)
        except ArgumentError:
            raise StoreError(
                "The store URL cannot be read.",
                remedy="Set store.url to sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
            ) from None
        backend = url.get_backend_name()
        if backend == "sqlite":
            if not url.database or url.database == ":memory:":
                raise StoreError(
                    f"The store URL {url} names no file, so nothing would outlive the process.",
                    remedy="Set store.url to sqlite:///PATH.",
                )
            path = Path(url.database).expanduser().absolute()
            return cls(url.set(drivername="sqlite+pysqlite", database=str(path)), path)
        if backend in ("postgresql", "postgres"):
            return cls(url.set(drivername="postgresql+psycopg"), None)
        raise StoreError(
            f"The store URL names {backend}, which is not supported.",
            remedy="Set store.url to sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
        )

    @property
    def backend(self) -> str:
        return "postgresql" if self.path is None else "sqlite"

    def __str__(self) -> str:
        """For a person: the path, or the URL without its password."""
        return str(self.path) if self.path else self.url.render_as_string(hide_password=True)

    def engine(self, *, read_only: bool) -> Engine:
        """An engine with a bounded pool. Nothing is opened before it is used."""
        if self.path is None:
            connect_args: dict[str, str | int] = {"connect_timeout": 10}
            if read_only:
                connect_args["options"] = (
                    "-c default_transaction_read_only=on "
                    "-c default_transaction_isolation=repeatable\\ read"
                )
            return create_engine(
                self.url,
                pool_size=MAX_READERS,
                max_overflow=0,
                pool_pre_ping=True,
                connect_args=connect_args,
            )
        path = self.path
        engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: connect_sqlite(path, read_only=read_only),
            poolclass=QueuePool,
            pool_size=MAX_READERS,
            max_overflow=0,
        )
        event.listen(engine, "begin", _begin)
        return engine


def connect_sqlite(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection to a file that exists, in autocommit mode: transactions are begun in SQL."""
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _begin(connection: Connection) -> None:
    # The driver begins nothing by itself here, and a reader's queries need one snapshot.
    connection.exec_driver_sql("BEGIN")
