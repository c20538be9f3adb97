"""Where a database is: a store URL read into an address, and the engines that open it.

Two kinds exist. `sqlite:///path` is one file on the node that holds it (`~` is the user's home);
`postgresql://…` is a server, or a pooler in front of one in any mode: nothing here depends on a
session that outlives a transaction. A SQLite file is always opened as something that exists: no
typo in a path can quietly make a new, empty database.

No text from here holds a part of a password, also not of one that was written without escapes.

A server that is frozen keeps its connections open and answers nothing, and its kernel goes on
acknowledging packets, so no option of the connection notices it. Each wait for an answer is bounded
here instead, and the connection is given up after it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import ArgumentError

from familiar.errors import StoreError

BUSY_TIMEOUT_S = 10.0
ANSWER_S = 30.0
"""How long one answer of a PostgreSQL server is waited for."""
MAX_READERS = 16
WAL_LIMIT = 64 * 1024 * 1024
_OPTIONS_OF_THE_DRIVER = frozenset(
    {"autocommit", "row_factory", "cursor_factory", "context", "prepare_threshold"}
)
"""psycopg takes them from where the options are; with them no transaction is one."""
FORMS = "Set store.url to sqlite:///PATH or postgresql://USER@HOST/DATABASE."


@dataclass(frozen=True, slots=True)
class Address:
    """A store URL that was understood. `path` is set for SQLite only, and absolute."""

    url: URL
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises `StoreError` for a URL that names neither a SQLite file nor PostgreSQL."""
        text = str(text).strip()
        scheme, colon, rest = text.partition("://")
        try:
            if any(ord(char) < 32 for char in text):
                raise ValueError("a control character")
            url = make_url(f"{scheme.lower()}{colon}{rest}")
            if not 0 < (url.port or 1) < 65536:
                raise ValueError("a port")
        except (ArgumentError, ValueError):
            raise StoreError(
                "The store URL cannot be read.",
                remedy=f"{FORMS} Escape special characters of a password (@ is %40, / is %2F).",
            ) from None
        backend = url.get_backend_name()
        if backend == "sqlite":
            if not url.database or url.database == ":memory:":
                raise StoreError(
                    "The store URL names no file, so the database would end with the process.",
                    remedy="Set store.url to sqlite:///PATH.",
                )
            if url.host or url.username or url.password:
                raise StoreError("A SQLite store URL has three slashes and no host.", remedy=FORMS)
            if "?" in text or url.database.startswith("file:"):
                raise StoreError(
                    "A SQLite store URL has a path and no options.",
                    remedy=f"{FORMS} Write ? in a path as %3F.",
                )
            path = Path(url.database).expanduser().absolute()
            return cls(url.set(drivername="sqlite+pysqlite", database=str(path)), path)
        if backend in ("postgresql", "postgres"):
            if text.count("@") > 1:
                # The first @ ended the password here, so its rest would be taken for a host.
                raise StoreError(
                    "The store URL has more than one @.",
                    remedy="Escape special characters of the user and the password: @ is %40.",
                )
            for name, value in url.query.items():
                if name in _OPTIONS_OF_THE_DRIVER or (
                    isinstance(value, tuple) and name not in ("host", "port")
                ):
                    raise StoreError(
                        f"The store URL's option {name} is not PostgreSQL's, or there twice.",
                        remedy="Use the options of a PostgreSQL connection string, each once.",
                    )
            return cls(url.set(drivername="postgresql+psycopg"), None)
        raise StoreError("The store URL names a database that is not supported.", remedy=FORMS)

    @property
    def backend(self) -> str:
        return "postgresql" if self.path is None else "sqlite"

    def __str__(self) -> str:
        """For a person: the path, or user, host and database; no password, no options."""
        if self.path is not None:
            return str(self.path)
        bare = self.url.set(drivername="postgresql", query={})
        return bare.render_as_string(hide_password=True)

    def __repr__(self) -> str:
        return f"Address({self})"

    def engine(self, *, read_only: bool) -> Engine:
        """A bounded pool of connections to read with. Nothing is opened before it is used."""
        if self.path is None:
            return self._postgresql_engine(
                "REPEATABLE READ" if read_only else "READ COMMITTED",
                MAX_READERS,
                read_only=read_only,
            )
        return self._sqlite_engine("BEGIN", read_only, MAX_READERS)

    def writer(self, *, answer_s: float | None = None) -> Engine:
        """One connection to write with. A SQLite transaction holds the write lock from the start.

        A lost connection is made anew by the transaction that follows the one that it broke.
        `answer_s` is how long an answer is waited for; a migration may take hours."""
        if self.path is not None:
            return self._sqlite_engine("BEGIN IMMEDIATE", read_only=False, size=1)
        return self._postgresql_engine("READ COMMITTED", 1, answer_s=answer_s)

    def _postgresql_engine(
        self,
        isolation: IsolationLevel,
        size: int,
        *,
        read_only: bool = False,
        answer_s: float | None = None,
    ) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=size > 1,
            isolation_level=isolation,
            execution_options={"postgresql_readonly": True} if read_only else {},
            connect_args=self._connect_args(),
            hide_parameters=True,
        )
        limit = ANSWER_S if answer_s is None else answer_s

        def connect(_: object, __: object, args: list[Any], options: dict[str, Any]) -> object:
            return _bounded()(limit, *args, **options)

        event.listen(engine, "do_connect", connect)
        return engine

    def _sqlite_engine(self, begin: str, read_only: bool, size: int) -> Engine:
        path = self.path
        assert path is not None
        engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: connect_sqlite(path, read_only=read_only),
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,
        )

        def start(connection: Connection) -> None:
            # The driver begins nothing by itself here, and a reader's queries need one snapshot.
            connection.connection.cursor().execute(begin)

        event.listen(engine, "begin", start)
        return engine

    def _connect_args(self) -> dict[str, int | None]:
        """Defaults for what the URL leaves open. A pooler may give each transaction another
        session, so nothing is prepared on the server."""
        defaults: dict[str, int | None] = {
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }
        left = {name: value for name, value in defaults.items() if name not in self.url.query}
        return {**left, "prepare_threshold": None}


@cache
def _bounded() -> Callable[..., object]:
    """Opens connections whose waits are bounded. psycopg is an extra, so it is loaded here."""
    import psycopg
    from psycopg.abc import RV, PQGen

    class Bounded(psycopg.Connection[Any]):
        answer_s = ANSWER_S

        def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
            return super().wait(self._within(gen), interval, timeout)

        def _within(self, gen: PQGen[RV]) -> PQGen[RV]:
            """`gen`, as long as the server says something."""
            heard = time.monotonic()
            try:
                wanted = next(gen)
                while True:
                    ready = yield wanted
                    if ready:
                        heard = time.monotonic()
                    elif time.monotonic() - heard > self.answer_s:
                        self.pgconn.finish()
                        raise psycopg.OperationalError(f"no answer in {self.answer_s:g} s")
                    wanted = gen.send(ready)
            except StopIteration as ended:
                value: RV = ended.value
                return value

    def connect(answer_s: float, *args: Any, **options: Any) -> object:
        connection = Bounded.connect(*args, **options)
        connection.answer_s = answer_s
        return connection

    return connect


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
    else:
        # A commit is on the disk when it returns.
        connection.execute("PRAGMA synchronous = FULL")
        # What a long read let the log grow to is given back at the next checkpoint.
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
    return connection
