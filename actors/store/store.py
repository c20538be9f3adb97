"""The writing half of the database: the event log and its projections, under an epoch.

One `Store` is the only writer of a database. `take_epoch` moves the database to a new owner, and
every append looks the epoch up in its own transaction: an owner that was replaced only gets a
`StaleEpoch`.

`append` is one transaction for the events of many runs, their projections and their texts. It
counts itself in the row of `store`, on condition that the row holds what is known: the id, the
epoch, and the number of commits, which shows a database that was put back from a copy. Only where
that changes no row, the row is read, to find out why. Then it also shows whether a commit without
an answer was carried out. `Store` is safe to share between threads; appends take turns.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, Self

from sqlalchemy import Connection, Engine, Row, Select, select, update
from sqlalchemy.exc import IntegrityError

from actors.store.address import Address
from actors.store.failure import TransientStoreError, replaced, store_error
from actors.store.file_watch import FileWatch
from actors.store.history import newest_seq, pages, rebuild
from actors.store.lease import check_lease, clock, limit_waiting
from actors.store.projections import project
from actors.store.schema import (
    check_sqlite_file,
    create_postgresql,
    create_sqlite,
    prepare_sqlite,
    recognise,
    upgrade,
)
from actors.store.tables import RUNS, STORE, TEXTS, WORKER_CALLS
from actors.store.writes import Value, change, write, write_history, write_one
from familiar.errors import Conflict, StaleEpoch, StoreError
from familiar.event import Event

_STATE: Select[Any] = select(STORE.c.store_id, STORE.c.epoch, STORE.c.commits).with_for_update()


class Store:
    """A database opened for writing. Make one with `Store.open`."""

    def __init__(self, address: Address, engine: Engine, writer: Connection, store_id: str) -> None:
        self.address = address
        self.store_id = store_id
        self.owner_id = str(uuid.uuid4())
        self.writing_since: float | None = None
        """`time.monotonic()` when the transaction in progress began."""
        self._engine = engine
        self._writer = writer
        self._watch = FileWatch(address.path, store_id) if address.path else None
        self._lock = threading.Lock()
        self._epoch = 0
        self._commits = -1
        """How many commits the database has; -1 while that is not known."""
        self._last: dict[str, int] = {}
        self._unsure: dict[tuple[str, int], Event] = {}
        """Events whose commit gave no answer."""

    @classmethod
    def open(cls, url: str, *, create: bool, expected_id: str | None = None) -> Self:
        """Open the database at `url`, and bring its schema up to date.

        `create` makes one where there is nothing at all: no file, or no tables. Raises `StoreError`
        for a database that is not ours, is not the one that was expected, or cannot be written.
        """
        address = Address.parse(url)
        path = address.path
        if path is not None and not check_sqlite_file(path, create=create):
            create_sqlite(address)
        opened: list[Engine] = []
        try:
            # Creating an engine loads the driver, and psycopg is an extra.
            opened.append(maker := address.writer(answer_s=inf))
            if path is None and create:
                create_postgresql(maker, address)
            opened.append(engine := address.engine(read_only=False))
            with engine.connect() as connection:
                store_id, revision = recognise(connection, address)
            if expected_id is not None and store_id != expected_id:
                raise StoreError(
                    f"The database {address} is not the expected one: its id is {store_id}, "
                    f"and {expected_id} was expected.",
                    remedy="Set store.url to the database that this deployment began with.",
                )
            if path is not None:
                prepare_sqlite(maker)
            upgrade(maker, address, revision)
            maker.dispose()
            opened.append(writer := address.writer())
            return cls(address, engine, writer.connect(), store_id)
        except Exception as error:
            for one in opened:
                one.dispose()
            raise store_error(error, address) from error

    def close(self) -> None:
        with self._lock:
            self._writer.close()
            self._writer.engine.dispose()
            self._engine.dispose()

    # --- the owner

    def take_epoch(self, *, lease_s: float | None = None, gone: str = "") -> int:
        """Become the owner: a number higher than any before, committed.

        `lease_s` is how long the owner can be silent before another may take its place. Raises
        `OwnedElsewhere` while the lease of another owner runs; `gone` is the id of an owner whose
        end is proved."""
        with self._lock, self._transaction() as connection:
            limit_waiting(connection)
            state = self._state(connection)
            check_lease(connection, self.address, {self.owner_id, gone})
            epoch: int = state.epoch + 1
            connection.execute(
                update(STORE).values(
                    epoch=epoch,
                    owner_id=self.owner_id,
                    owner_host=socket.gethostname(),
                    owner_pid=os.getpid(),
                    lease_until=None if lease_s is None else clock(connection) + lease_s,
                )
            )
        self._epoch, self._commits = epoch, state.commits
        self._last.clear()
        self._unsure.clear()
        return epoch

    def renew(self, lease_s: float) -> None:
        """Extend the lease from now. Raises `StaleEpoch` when another owner took the epoch, and
        `StoreReplaced`."""
        with self._lock, self._transaction() as connection:
            state = self._state(connection)
            self._check_epoch(self._epoch, state.epoch)
            self._check_commits(state)
            connection.execute(update(STORE).values(lease_until=clock(connection) + lease_s))

    def release(self) -> None:
        """End the lease, so that the next owner need not wait. For a clean end."""
        with self._lock, self._transaction() as connection:
            mine = STORE.c.owner_id == self.owner_id
            connection.execute(update(STORE).where(mine).values(lease_until=None))

    def check(self) -> None:
        """Raises `StoreReplaced` when the database is not the one that was opened."""
        with self._lock, self._transaction() as connection:
            self._check_commits(self._state(connection))

    # --- writing

    def append(self, events: Sequence[Event], texts: Mapping[str, str]) -> None:
        """Commit `events` in order, with their projections, and `texts` by their SHA-256.

        All or nothing. Raises `TransientStoreError` when the same append may be repeated; the
        repeated one finds out first whether the one before was committed. Raises `StaleEpoch` when
        a newer orchestrator owns the database, `StoreReplaced` for a database that was changed
        from outside, `Conflict` for an idempotency key that is taken, and `StoreError` for a seq
        that is not the run's next.
        """
        if not events:
            return
        with self._lock:
            try:
                with self._transaction() as connection:
                    left, found, commits = self._claim(connection, events)
                    ahead = self._check_seq(connection, left, found)
                    if left:
                        write_history(connection, left, texts)
                        write(connection, project(left))
            except TransientStoreError:
                self._unsure = self._unsure or {(e.run_id, e.seq): e for e in events}
                raise
            except StoreError as error:
                raise self._taken(error) from error
            self._unsure = {}
            self._commits = commits
            self._last.update(ahead)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        self.writing_since = time.monotonic()
        try:
            if self._watch is not None:
                self._watch.check(self._commits)
            if self._writer.closed:
                self._writer = self._writer.engine.connect()
            with self._writer.begin():
                yield self._writer
            if self._watch is not None:
                self._watch.wrote()
        except ValueError:
            # A body that JSON or UTF-8 cannot hold: no fault of the database.
            raise
        except Exception as error:
            # A commit that failed leaves its transaction open, which the pool ends.
            self._writer.close()
            raise store_error(error, self.address) from error
        finally:
            self.writing_since = None

    def _claim(
        self, connection: Connection, events: Sequence[Event]
    ) -> tuple[list[Event], Mapping[tuple[str, int], Event], int]:
        """Count this commit, which locks the row of `store` until its end: the events that are left
        to write, those of a commit that gave no answer and was carried out, and the new count."""
        if self._unsure:
            limit_waiting(connection)
        elif self._count(connection, events, self._commits):
            return list(events), {}, self._commits + 1
        state = self._state(connection)
        for event in events:
            self._check_epoch(event.epoch, state.epoch)
        found = self._check_commits(state)
        left = [e for e in events if found.get((e.run_id, e.seq)) != e]
        counted = bool(left) and self._count(connection, left, state.commits)
        return left, found, state.commits + counted

    def _count(self, connection: Connection, events: Sequence[Event], commits: int) -> bool:
        """One more than `commits`, if the database has that number, and the epoch of `events`."""
        epoch, *others = {event.epoch for event in events}
        known: dict[str, Value] = {"store_id": self.store_id, "epoch": epoch, "commits": commits}
        return not others and write_one(connection, change(STORE, known, commits=commits + 1)) == 1

    def _state(self, connection: Connection) -> Row[Any]:
        """The row of `store`, locked until the transaction ends."""
        row = connection.execute(_STATE).first()
        if row is None or row.store_id != self.store_id:
            raise replaced(self.address, "its id is another one")
        return row

    def _check_epoch(self, mine: int, current: int) -> None:
        if mine == current:
            return
        if mine < current:
            raise StaleEpoch(
                f"A newer orchestrator writes to {self.address}: it has epoch {current}, "
                f"this one {mine}. Nothing was written.",
                remedy="End this orchestrator.",
            )
        if current < self._epoch:
            raise replaced(self.address, f"its epoch went back from {self._epoch} to {current}")
        raise StoreError(
            f"Epoch {mine} was never taken in {self.address}; nothing was written.",
            remedy="Take an epoch before writing.",
        )

    def _check_commits(self, state: Row[Any]) -> dict[tuple[str, int], Event]:
        """Whether all commits are there, and no other. The events whose commit gave no answer, if
        it was carried out."""
        if self._commits < 0 or state.commits == self._commits:
            return {}
        if self._unsure and state.commits == self._commits + 1:
            return self._unsure
        if state.epoch > self._epoch:
            return {}
        raise replaced(
            self.address,
            f"it has {state.commits} commits where {self._commits} were expected",
        )

    def _check_seq(
        self,
        connection: Connection,
        events: Sequence[Event],
        found: Mapping[tuple[str, int], Event],
    ) -> dict[str, int]:
        ahead: dict[str, int] = {}
        for run_id, seq in found:
            ahead[run_id] = max(seq, ahead.get(run_id, 0))
        for event in events:
            run_id = event.run_id
            last = ahead.get(run_id)
            if last is None:
                last = self._last.get(run_id)
            if last is None:
                # The first event of a run that is there already is stopped by its key.
                last = 0 if event.seq == 1 else newest_seq(connection, run_id)
                # For the time until it is known whether this commit was carried out.
                self._last[run_id] = last
            if event.seq != last + 1:
                raise StoreError(
                    f"Event {event.seq} of run {run_id} does not follow event {last}; "
                    "nothing was written."
                )
            ahead[run_id] = event.seq
        return ahead

    def _taken(self, error: StoreError) -> Exception:
        """`error`, or its meaning where a row with the same key is there."""
        if not isinstance(error.__cause__, IntegrityError):
            return error
        self._last.clear()
        if "idempotency_key" in str(error.__cause__):
            return Conflict(
                "Another run was submitted with the same idempotency key.",
                field="Idempotency-Key",
                remedy="Send the same request again to get that run, or a new key.",
            )
        return StoreError("An event with this number is recorded already; nothing was written.")

    def rebuild_projections(self) -> int:
        """Write the projections anew from the events; how many events."""
        with self._lock, self._transaction() as connection:
            return rebuild(connection)

    # --- reading

    def last_seq(self, run_id: str) -> int:
        """The seq of the run's newest event, 0 for a run that has none. Never waits for a writer;
        while it is not known whether a commit was carried out, the seq before it."""
        last = self._last.get(run_id)
        if last is not None:
            return last
        with self._reading() as connection:
            # What is read here is not kept: an append may be further by now.
            return newest_seq(connection, run_id)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            if self._watch is not None:
                self._watch.inode.check()
            with self._engine.connect() as connection:
                yield connection
        except Exception as error:
            raise store_error(error, self.address) from error

    def _first(self, query: Select[Any]) -> Row[Any] | None:
        with self._reading() as connection:
            return connection.execute(query).first()

    def forget(self, run_id: str) -> None:
        """Drop what is kept in memory of a run that has ended. For the thread that appends."""
        self._last.pop(run_id, None)

    def open_runs(self) -> list[str]:
        query = (
            select(RUNS.c.run_id)
            .where(RUNS.c.status.in_(("running", "cancelling")))
            .order_by(RUNS.c.submitted_at, RUNS.c.run_id)
        )
        with self._reading() as connection:
            return list(connection.execute(query).scalars())

    def events(self, run_id: str, after: int = 0) -> Iterator[Event]:
        """The run's events with a seq above `after`, in order, read page by page."""
        with self._reading() as connection:
            for page in pages(connection, run_id, after):
                yield from page

    def text(self, sha256: str) -> str | None:
        row = self._first(select(TEXTS.c.body).where(TEXTS.c.sha256 == sha256))
        return None if row is None else bytes(row.body).decode("utf-8")

    def call_role(self, run_id: str, call_id: str) -> tuple[int | None, str | None] | None:
        query = select(WORKER_CALLS.c.turn, WORKER_CALLS.c.alias).where(
            WORKER_CALLS.c.run_id == run_id, WORKER_CALLS.c.call_id == call_id
        )
        row = self._first(query)
        return None if row is None else (row.turn, row.alias)

    def find_idempotent(self, key: str) -> str | None:
        """The run that was submitted with this idempotency key."""
        row = self._first(select(RUNS.c.run_id).where(RUNS.c.idempotency_key == key))
        return None if row is None else str(row.run_id)
