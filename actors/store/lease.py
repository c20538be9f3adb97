"""Who owns the database: the epoch that may write, and the owner's lease.

An owner that takes the epoch says for how long it will be there, and renews that. While the lease
runs, nobody else takes the epoch without proof that the owner is gone. The database's clock tells
the time, so that clocks of nodes may differ.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Double, cast, func, literal_column, select, text

from actors.store.tables import STORE
from familiar.errors import StoreError

LOCK_WAIT_S = 10


class OwnedElsewhere(StoreError):
    """Another owner's lease runs. `until` is in seconds since the Unix epoch."""

    def __init__(self, where: object, owner_id: str, host: str, pid: int, until: float) -> None:
        self.owner_id = owner_id
        self.host = host
        self.pid = pid
        self.until = until
        told = datetime.fromtimestamp(until, UTC).strftime("%H:%M:%S UTC")
        super().__init__(
            f"The database {where} is owned by process {pid} on {host} until {told}.",
            remedy="Use that service, or stop it; after a crash, wait until its lease has run out.",
        )


def clock(connection: Connection) -> ColumnElement[float]:
    """The time of the database, in seconds since the Unix epoch."""
    if connection.dialect.name == "postgresql":
        return cast(func.extract("epoch", func.clock_timestamp()), Double)
    return literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)


def limit_waiting(connection: Connection) -> None:
    """Wait only so long for a row that a lost connection still locks on the server."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'"))


def check_lease(connection: Connection, where: object, but: Collection[str]) -> None:
    """Raises `OwnedElsewhere` while the lease of an owner runs that is not in `but`."""
    owner = STORE.c
    query = select(owner.owner_id, owner.owner_host, owner.owner_pid, owner.lease_until).where(
        owner.owner_id.not_in(but), owner.lease_until > clock(connection)
    )
    row = connection.execute(query).first()
    if row is not None:
        raise OwnedElsewhere(where, row.owner_id, row.owner_host, row.owner_pid, row.lease_until)


def is_leased(connection: Connection) -> bool:
    """Whether the lease of an owner runs."""
    query = select(STORE.c.lease_until > clock(connection))
    return bool(connection.execute(query).scalar())
