"""What a database error means for the writer: repeat the same append, or give the batch up.

The drivers' errors become `StoreError`s that name the database and say what to do. A
`TransientStoreError` left nothing behind, and the same append may be repeated once the cause is
gone: a full disk, a locked file, a server that is away.
"""

from __future__ import annotations

import errno
import sqlite3

import sqlalchemy.exc

from familiar.errors import StoreError


class TransientStoreError(StoreError):
    """The append was not written, and may be repeated as it is."""


_FULL = "free space on its disk; nothing is lost, and writing goes on by itself"
_REMEDY: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("its disk is full", _FULL),
    sqlite3.SQLITE_BUSY: ("another process holds its lock", "end the process that writes to it"),
    sqlite3.SQLITE_LOCKED: ("another process holds its lock", "end the process that writes to it"),
    sqlite3.SQLITE_IOERR: (
        "the disk answered with an error",
        "look at the disk and the free space",
    ),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        "give this user write permission on the file and on its directory",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "the file or one beside it cannot be opened",
        "give this user write permission on the file and on its directory",
    ),
    sqlite3.SQLITE_PERM: ("access is denied", "give this user write permission on the file"),
}


def store_error(error: Exception, where: object) -> StoreError:
    """`error` as this package's error. `where` names the database for a person."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(error.orig, Exception):
        error = error.orig
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _transient(where, *_REMEDY[sqlite3.SQLITE_FULL])
        return StoreError(f"The database {where} cannot be used: {error}.")
    if isinstance(error, sqlite3.Error):
        return _sqlite(error, where)
    return _postgresql(error, where)


def _sqlite(error: sqlite3.Error, where: object) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _REMEDY:
        return _transient(where, *_REMEDY[code])
    if code == sqlite3.SQLITE_NOTADB:
        return foreign(where, "it is no SQLite file")
    return StoreError(f"The database {where} refused: {error}.")


def _postgresql(error: Exception, where: object) -> StoreError:
    try:
        import psycopg
    except ImportError:
        return StoreError(
            f"The database {where} needs the psycopg driver, which is not installed.",
            remedy="Install familiar with its postgres extra.",
        )

    if isinstance(error, psycopg.errors.DiskFull):
        return _transient(where, *_REMEDY[sqlite3.SQLITE_FULL])
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return _transient(where, "it is read-only", "connect to the primary")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return StoreError(
            f"The database {where} refused: {_line(error)}.",
            remedy="Grant this role the right to write to it.",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.errors.InFailedSqlTransaction):
        return _transient(where, _line(error), "look at the server; writing goes on by itself")
    return StoreError(f"The database {where} refused: {_line(error) or repr(error)}.")


def foreign(where: object, why: str) -> StoreError:
    """A database that is there and is not ours."""
    return StoreError(
        f"{where} is not a familiar database: {why}. It was left as it is.",
        remedy="Set store.url to the right database, or to a path where there is none yet.",
    )


def _transient(where: object, what: str, remedy: str) -> TransientStoreError:
    return TransientStoreError(
        f"The database {where} cannot be written: {what}.",
        remedy=f"{remedy[0].upper()}{remedy[1:]}.",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
