"""The writing half of the database: the event log and its projections, under an epoch.

One `Store` is the only writer of its shard. SQLite has one shard; PostgreSQL may have several, each
with one orchestrator that writes only the runs it took in. `take_epoch` moves a shard to a new
owner, and every append looks the epoch up in its own transaction, so whoever was replaced can do
no more harm than get a `StaleEpoch`.

`append` is the hot path: one transaction for the events of many runs, their projections and their
texts. It reads one row (the epoch), groups rows by table, and never asks the database what it can
know: the last seq of a run is read once and then kept. `Store` is safe to share between threads;
appends take turns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Engine, Row, Select, select

from actors.store import writes as w
from actors.store.address import Address
from actors.store.batch import Change, history, projected
from actors.store.failure import TransientStoreError, store_error
from actors.store.schema import (
    check_sqlite_file,
    create_postgresql,
    create_sqlite,
    recognise,
    upgrade,
)
from actors.store.tables import (
    EVENTS,
    OWNERS,
    PROJECTIONS,
    RUNS,
    SESSIONS,
    TEXTS,
    WORKER_CALLS,
)
from actors.store.writer import Writer, open_writer
from familiar.errors import Conflict, StaleEpoch, StoreError
from familiar.event import Event, RunSubmitted, event_from_row

PAGE = 500


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """Telemetry of one device: bytes, watts, degrees Celsius, utilization from 0 to 1."""

    node: str
    device: str
    at: float
    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None


class Store:
    """A database opened for writing. Make one with `Store.open`."""

    def __init__(
        self, address: Address, engine: Engine, writer: Writer, store_id: str, shard: str
    ) -> None:
        self.address = address
        self.store_id = store_id
        self.shard = shard
        self._engine = engine
        self._writer = writer
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}
        self._uncertain = False

    @classmethod
    def open(
        cls, url: str, *, create: bool, shard: str = "main", expected_id: str | None = None
    ) -> Self:
        """Open the database at `url`, and bring its schema up to date.

        `create` makes one where there is nothing at all: no file, or no tables. Raises `StoreError`
        for a database that is not ours, is not the one that was expected, or cannot be written.
        """
        address = Address.parse(url)
        path = address.path
        if path is not None:
            if shard != "main":
                raise StoreError("A SQLite database has one orchestrator, and so one shard, main.")
            if not check_sqlite_file(path, create=create):
                create_sqlite(address)
        engine = address.engine(read_only=False)
        try:
            if path is None and create:
                create_postgresql(engine, address)
            writer = open_writer(engine, path, address)
            try:
                with engine.connect() as connection:
                    store_id, revision = recognise(connection, address)
                if expected_id is not None and store_id != expected_id:
                    raise StoreError(
                        f"The database {address} is another one: its id is {store_id}, "
                        f"and {expected_id} was expected.",
                        remedy="Set store.url to the database that this deployment began with.",
                    )
                upgrade(engine, address, revision)
            except BaseException:
                writer.close()
                raise
        except Exception as error:
            engine.dispose()
            raise store_error(error, address) from error
        return cls(address, engine, writer, store_id, shard)

    def close(self) -> None:
        with self._lock:
            self._writer.close()
            self._engine.dispose()

    def take_epoch(self) -> int:
        """Become the owner of the shard: a number higher than any before, committed."""
        with self._lock, self._writer as transaction:
            transaction.execute("UPDATE store SET epoch = epoch + 1")
            epoch = int(transaction.query("SELECT epoch FROM store")[0])
            transaction.execute(
                "INSERT INTO shards (shard, epoch) VALUES (?, ?) "
                "ON CONFLICT (shard) DO UPDATE SET epoch = excluded.epoch",
                (self.shard, epoch),
            )
            self._last.clear()
        return epoch

    def append(self, events: Sequence[Event], texts: Mapping[str, str]) -> None:
        """Commit `events` in order, with their projections, and `texts` by their SHA-256.

        All or nothing. Raises `StaleEpoch` when a newer orchestrator owns the shard,
        `TransientStoreError` when the same append may be repeated, `Conflict` for an idempotency
        key that is taken, `StoreError` for a seq that is not the run's next.
        """
        if not events:
            return
        changes: list[Change] = [
            *history(events, texts),
            (w.OWNER, [(e.run_id, self.shard) for e in events if type(e.body) is RunSubmitted]),
            *projected(events),
        ]
        with self._lock:
            if self._uncertain and self._is_committed(events[-1]):
                self._advance(events)
                return
            ahead = self._check_seq(events)
            try:
                with self._writer as transaction:
                    self._check_epoch(events, transaction.shard_epoch(self.shard))
                    transaction.write_all(changes)
            except StoreError as error:
                self._uncertain = isinstance(error, TransientStoreError)
                if "idempotency_key" in str(error.__cause__):
                    raise Conflict(
                        "Another run was submitted with the same idempotency key.",
                        field="Idempotency-Key",
                        remedy="Send the same request again to get that run, or a new key.",
                    ) from error
                raise
            self._uncertain = False
            self._last.update(ahead)

    def _check_seq(self, events: Sequence[Event]) -> dict[str, int]:
        ahead: dict[str, int] = {}
        for event in events:
            run_id = event.run_id
            last = ahead.get(run_id)
            if last is None:
                last = self._last[run_id] if run_id in self._last else self._read_last_seq(run_id)
            if event.seq != last + 1:
                raise StoreError(
                    f"Event {event.seq} of run {run_id} does not follow event {last}; "
                    "nothing was written."
                )
            ahead[run_id] = event.seq
        return ahead

    def _check_epoch(self, events: Sequence[Event], epoch: int | None) -> None:
        for event in events:
            if event.epoch == epoch:
                continue
            if epoch is None or event.epoch > epoch:
                raise StoreError(
                    f"Epoch {event.epoch} was never taken in {self.address}; nothing was written.",
                    remedy="Take an epoch before writing.",
                )
            raise StaleEpoch(
                f"A newer orchestrator writes to {self.address}: it has epoch {epoch}, "
                f"this one {event.epoch}. Nothing was written.",
                remedy="End this orchestrator.",
            )

    def _is_committed(self, last: Event) -> bool:
        """Whether the batch that ends with `last` was committed although its commit failed to
        answer, as can happen when a connection breaks."""
        self._last.clear()
        query = select(EVENTS.c.epoch, EVENTS.c.at, EVENTS.c.body).where(
            EVENTS.c.run_id == last.run_id, EVENTS.c.seq == last.seq
        )
        row = self._first(query)
        return row is not None and tuple(row) == (last.epoch, last.at, last.body_json())

    def _advance(self, events: Sequence[Event]) -> None:
        self._uncertain = False
        for event in events:
            self._last[event.run_id] = event.seq

    def last_seq(self, run_id: str) -> int:
        """The seq of the run's newest event, 0 for a run that has none. Never waits for a writer.

        Raises `StoreError` for a run that another shard owns."""
        last = self._last.get(run_id)
        # What is read here is not kept: an append may be further by now.
        return self._read_last_seq(run_id) if last is None else last

    def _read_last_seq(self, run_id: str) -> int:
        newest = (
            select(EVENTS.c.seq, OWNERS.c.shard)
            .join(OWNERS, OWNERS.c.run_id == EVENTS.c.run_id, isouter=True)
            .where(EVENTS.c.run_id == run_id)
            .order_by(EVENTS.c.seq.desc())
            .limit(1)
        )
        row = self._first(newest)
        if row is None:
            return 0
        if row.shard is not None and row.shard != self.shard:
            raise StoreError(
                f"Run {run_id} belongs to shard {row.shard}, and this is {self.shard}.",
                remedy="Send the request to that shard's orchestrator.",
            )
        return int(row.seq)

    def _first(self, query: Select[Any]) -> Row[Any] | None:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).first()
        except Exception as error:
            raise store_error(error, self.address) from error

    def forget(self, run_id: str) -> None:
        """Drop what is kept in memory of a run that has ended. For the thread that appends."""
        self._last.pop(run_id, None)

    def open_runs(self) -> list[str]:
        """The runs of this shard that have not ended, oldest first."""
        query = (
            select(RUNS.c.run_id)
            .join(OWNERS, OWNERS.c.run_id == RUNS.c.run_id)
            .where(RUNS.c.status.in_(("running", "cancelling")), OWNERS.c.shard == self.shard)
            .order_by(RUNS.c.submitted_at, RUNS.c.run_id)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> Iterator[Event]:
        """The run's events with a seq above `after`, in order, read page by page."""
        while limit is None or limit > 0:
            page = PAGE if limit is None else min(PAGE, limit)
            query = (
                select(EVENTS.c.seq, EVENTS.c.epoch, EVENTS.c.at, EVENTS.c.body)
                .where(EVENTS.c.run_id == run_id, EVENTS.c.seq > after)
                .order_by(EVENTS.c.seq)
                .limit(page)
            )
            with self._engine.connect() as connection:
                rows = connection.execute(query).all()
            for seq, epoch, at, body in rows:
                yield event_from_row(run_id, seq, epoch, at, body)
            if len(rows) < page:
                return
            after = rows[-1].seq
            limit = None if limit is None else limit - page

    def text(self, sha256: str) -> str | None:
        """A text by its hash."""
        row = self._first(select(TEXTS.c.body).where(TEXTS.c.sha256 == sha256))
        return None if row is None else bytes(row.body).decode("utf-8")

    def call_role(self, run_id: str, call_id: str) -> tuple[int | None, str | None] | None:
        """Turn and alias of a call."""
        query = select(WORKER_CALLS.c.turn, WORKER_CALLS.c.alias).where(
            WORKER_CALLS.c.run_id == run_id, WORKER_CALLS.c.call_id == call_id
        )
        row = self._first(query)
        return None if row is None else (row.turn, row.alias)

    def find_idempotent(self, key: str) -> str | None:
        """The run that was submitted with this idempotency key."""
        row = self._first(select(RUNS.c.run_id).where(RUNS.c.idempotency_key == key))
        return None if row is None else str(row.run_id)

    def add_samples(self, samples: Sequence[DeviceSample]) -> None:
        """Write device telemetry."""
        rows: list[w.Row] = [
            (
                s.node,
                s.device,
                s.at,
                s.utilization,
                s.memory_used,
                s.memory_total,
                s.power_w,
                s.temperature_c,
            )
            for s in samples
        ]
        with self._lock, self._writer as transaction:
            transaction.write(w.GPU_SAMPLE, rows)

    def rebuild_projections(self, run_id: str | None = None) -> int:
        """Write the projections anew from the events, of one run or of all; how many events.

        One transaction: readers see the old rows or the new ones."""
        with self._lock, self._writer as transaction:
            for table in reversed(PROJECTIONS):
                if run_id is None:
                    transaction.execute(f"DELETE FROM {table.name}")
                elif table is not SESSIONS:
                    transaction.execute(f"DELETE FROM {table.name} WHERE run_id = ?", (run_id,))
            count = 0
            for name in [run_id] if run_id else self._runs_by_age():
                page: list[Event] = []
                for event in self.events(name):
                    page.append(event)
                    count += 1
                    if len(page) == PAGE:
                        transaction.write_all(projected(page))
                        page = []
                transaction.write_all(projected(page))
        return count

    def _runs_by_age(self) -> list[str]:
        query = select(EVENTS.c.run_id).where(EVENTS.c.seq == 1).order_by(EVENTS.c.at)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())
