"""Database errors as `StoreError`s: repeat the same append, or give the batch up.

    StoreError              the append can never be written
      TransientStoreError   the same append may be repeated once the cause is gone: a full disk, a
                            locked file, a server that is away, a deadlock
      StoreReplaced         the database is not the one that was opened

A message names the database and says what to do. It never holds a part of a password.
"""

from __future__ import annotations

import errno
import re
import sqlite3

import sqlalchemy.exc

from familiar.errors import StoreError


class TransientStoreError(StoreError):
    """The append was not written, or it is not known whether it was. Repeat it as it is."""


class StoreReplaced(StoreError):
    """The database was removed, replaced, or put back from a copy while it was in use."""


_PERMISSION = "give this user write permission on the file and on its directory"
_LOCKED = ("another process holds its lock", "end the process that writes to it")
_FULL = (
    "its disk is full",
    "free space on its disk; nothing is lost, and writing continues by itself",
)
_SQLITE: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_IOERR: (
        "the disk answered with an error",
        "check the disk and its free space",
    ),
    sqlite3.SQLITE_READONLY: ("it is read-only", _PERMISSION),
    sqlite3.SQLITE_CANTOPEN: ("the file or one beside it cannot be opened", _PERMISSION),
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_NOMEM: ("memory is short", "free memory on this machine"),
    sqlite3.SQLITE_INTERRUPT: ("the statement was interrupted", "wait"),
    sqlite3.SQLITE_PERM: ("access is denied", "give this user write permission on the file"),
}

_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58")
"""Connections, serialization and deadlocks, resources, an operator's intervention, the system."""

_TRANSIENT_STATES = {
    "25P02",  # in_failed_sql_transaction
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "55P03",  # lock_not_available
    "55000",  # object_not_in_prerequisite_state: a server that recovers, or is switched over
    "55006",  # object_in_use
    "26000",  # invalid_sql_statement_name: a prepared statement of another connection
    "42P05",  # duplicate_prepared_statement
}

_REJECTED_LOGIN = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|does not exist|user not found|"
    r"not permitted to log in|no such (?:user|database)|SSL required|requires? (?:TLS|SSL)|"
    r"not support (?:SSL|TLS)|certificate|private key|unknown ca|no shared cipher|"
    r"SSL error: (?:wrong version|unsupported protocol|\S+ alert (?:handshake|protocol version))|"
    r"invalid (?:port|connection option|\"?[a-z_]+\"? value)|bad value|could not parse|"
    r"definition of service|service file|unsupported startup parameter|"
    r"authentication method|channel binding|permission denied for database"
)
"""A connection fails without an SQLSTATE. With these texts, repeating it cannot help."""


def store_error(error: Exception, where: object) -> StoreError:
    """`error` as this package's error. `where` names the database for a person."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return _transient(
            where, "all of its connections are in use", "wait, or send fewer requests at once"
        )
    if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(error.orig, Exception):
        error = error.orig
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _transient(where, *_FULL)
        return StoreError(f"The database {where} cannot be used: {error}.")
    if isinstance(error, sqlite3.Error):
        return _sqlite(error, where)
    return _postgresql(error, where)


def _sqlite(error: sqlite3.Error, where: object) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE:
        return _transient(where, *_SQLITE[code])
    if code == sqlite3.SQLITE_NOTADB:
        return foreign(where, "it is not a SQLite file")
    if code == sqlite3.SQLITE_CORRUPT or str(error).startswith(("no such table", "no such column")):
        return _damaged(where, str(error))
    return StoreError(f"The database {where} rejected the statement: {error}.")


def _postgresql(error: Exception, where: object) -> StoreError:
    try:
        import psycopg
    except ImportError:
        return StoreError(
            f"The database {where} needs the psycopg driver, which is not installed.",
            remedy="Install familiar with its postgres extra.",
        )

    state = getattr(error, "sqlstate", None) or ""
    said = _line(error)
    if state == "53100":
        return _transient(where, *_FULL)
    if state == "25006":
        return _transient(where, "it is read-only", "connect to the primary")
    if state == "42501":
        return StoreError(
            f"The database {where} rejected the statement: {said}.",
            remedy="Grant this role the right to write to it.",
        )
    if state in ("42P01", "42703", "3F000", "XX001", "XX002"):
        return _damaged(where, said)
    if state.startswith("28") or (not state and _REJECTED_LOGIN.search(said)):
        return StoreError(
            f"The database {where} rejects the connection: {said}.",
            remedy="Correct user, password, database and TLS options in store.url.",
        )
    if (
        state[:2] in _TRANSIENT_CLASSES
        or state in _TRANSIENT_STATES
        or (not state and isinstance(error, psycopg.OperationalError))
    ):
        return _transient(where, said, "check the server; writing continues by itself")
    return StoreError(
        f"The database {where} rejected the statement: {said or type(error).__name__}."
    )


def _damaged(where: object, said: str) -> StoreReplaced:
    return StoreReplaced(
        f"The database {where} has lost its tables or is damaged: {said}.",
        remedy="Put the database back, then start the service again.",
    )


def foreign(where: object, why: str) -> StoreError:
    """A database that is there and is not ours."""
    return StoreError(
        f"{where} is not a familiar database: {why}. It was left as it is.",
        remedy="Set store.url to the right database, or to a path where there is none yet.",
    )


def replaced(where: object, why: str) -> StoreReplaced:
    return StoreReplaced(
        f"The database {where} is not the one that was opened: {why}. Nothing was written.",
        remedy="Put the database back as it was, or restart the service on the one that is there.",
    )


def _transient(where: object, what: str, remedy: str) -> TransientStoreError:
    return TransientStoreError(
        f"The database {where} cannot be written: {what}.",
        remedy=f"{remedy[0].upper()}{remedy[1:]}.",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
