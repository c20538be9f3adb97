"""The one query module: everything that the API, the CLI and the page read.

A `Reader` has read-only connections of its own and never waits for the writer. Each method reads
one snapshot, so its parts agree with each other. With SQLite it runs on the node that holds the
file, with PostgreSQL anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Row,
    Table,
    and_,
    func,
    or_,
    select,
)

from actors.store import rows as r
from actors.store import tables as t
from actors.store.address import Address
from actors.store.assemble import columns, load, load_calls, load_rows, load_runs, token_sums
from actors.store.failure import store_error
from actors.store.file_watch import Inode
from actors.store.history import event_page, newest_seq
from actors.store.lease import is_leased
from actors.store.schema import check_revision, check_sqlite_file, recognise
from familiar.errors import NotFound, StoreError
from familiar.event import Event

RUN_STATUSES = ("running", "cancelling", "succeeded", "failed", "cancelled")
RUN = columns(r.RunRow, t.RUNS)
HEAD = columns(r.RunHead, t.RUNS)
T = TypeVar("T")


class Reader:
    """A database opened for reading. Make one with `Reader.open`; safe to share between threads."""

    def __init__(self, address: Address, engine: Engine, store_id: str) -> None:
        self.address = address
        self.store_id = store_id
        self._engine = engine
        self._inode = Inode.of(address.path) if address.path else None

    @classmethod
    def open(cls, url: str) -> Self:
        """Raises `StoreError` when there is no database, it is not ours, or has another schema."""
        address = Address.parse(url)
        if address.path is not None:
            check_sqlite_file(address.path, create=False)
        engine = address.engine(read_only=True)
        try:
            with engine.connect() as connection:
                store_id, revision = recognise(connection, address)
            check_revision(address, revision)
        except Exception as error:
            engine.dispose()
            raise store_error(error, address) from error
        return cls(address, engine, store_id)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        if self._inode is not None:
            self._inode.check()
        try:
            with self._engine.connect() as connection:
                yield connection
        except (StoreError, NotFound):
            raise
        except Exception as error:
            raise store_error(error, self.address) from error

    # --- runs

    def list_runs(
        self, limit: int = 50, before: str | None = None, status: str | None = None
    ) -> list[r.RunRow]:
        """Runs, newest first; `before` is the last run of the page before."""
        runs = t.RUNS.c
        query = select(*RUN).order_by(runs.submitted_at.desc(), runs.run_id.desc()).limit(limit)
        if status is not None:
            query = query.where(runs.status == status)
        with self._snapshot() as connection:
            if before is not None:
                at = self._run(connection, before).submitted_at
                query = query.where(
                    or_(
                        runs.submitted_at < at,
                        and_(runs.submitted_at == at, runs.run_id < before),
                    )
                )
            return load_runs(connection, connection.execute(query).all())

    def run(self, run_id: str) -> r.RunRow:
        """Raises `NotFound`, as do the other methods that take a run."""
        with self._snapshot() as connection:
            return load_runs(connection, [self._run(connection, run_id, RUN)])[0]

    def head(self, run_id: str) -> r.RunHead:
        """How far a run is: two short queries, however long the run."""
        with self._snapshot() as connection:
            row = self._run(connection, run_id, HEAD)
            return load(r.RunHead, row, {"last_seq": newest_seq(connection, run_id)})

    def session_runs(self, session_id: str) -> list[r.RunRow]:
        """A session's runs, oldest first. Raises `NotFound`."""
        runs = t.RUNS.c
        query = select(*RUN).where(runs.session_id == session_id)
        with self._snapshot() as connection:
            found = connection.execute(query.order_by(runs.submitted_at, runs.run_id)).all()
            if not found:
                raise NotFound(f"There is no session {session_id}.", field="session_id")
            return load_runs(connection, found)

    def is_owned(self) -> bool:
        """Whether an orchestrator holds the database now: its lease runs."""
        with self._snapshot() as connection:
            return is_leased(connection)

    def _run(
        self, connection: Connection, run_id: str, wanted: Sequence[Column[Any]] = HEAD
    ) -> Row[Any]:
        row = connection.execute(select(*wanted).where(t.RUNS.c.run_id == run_id)).first()
        if row is None:
            raise NotFound(
                f"There is no run {run_id}.",
                field="run_id",
                remedy="`familiar ls` and GET /v1/runs list the runs there are.",
            )
        return row

    # --- what a run consists of

    def calls(self, run_id: str) -> list[r.CallRow]:
        """All calls with their attempts: by turn, plan calls first, then in the plan's order."""
        with self._snapshot() as connection:
            self._run(connection, run_id)
            return load_calls(connection, run_id)

    def call(self, run_id: str, call_id: str) -> r.CallRow:
        with self._snapshot() as connection:
            self._run(connection, run_id)
            found = load_calls(connection, run_id, call_id)
        if found:
            return found[0]
        raise NotFound(
            f"Run {run_id} has no call {call_id}.",
            field="call_id",
            remedy=f"`familiar calls {run_id}` lists its calls.",
        )

    def plan(self, run_id: str) -> list[r.PlanRow]:
        """The turns, each with its planner and the worker calls of its plan."""
        with self._snapshot() as connection:
            self._run(connection, run_id)
            of_run = t.TURNS.c.run_id == run_id
            turns = load_rows(connection, t.TURNS, r.TurnRow, of_run, t.TURNS.c.turn)
            calls = [call for call in load_calls(connection, run_id) if call.kind == "worker"]
        return [
            r.PlanRow(turn, tuple(call for call in calls if call.turn == turn.turn))
            for turn in turns
        ]

    def decisions(self, run_id: str) -> list[r.Decision]:
        return self._of_run(run_id, t.DECISIONS, r.Decision, t.DECISIONS.c.seq)

    def syntheses(self, run_id: str) -> list[r.SynthesisRow]:
        return self._of_run(run_id, t.SYNTHESES, r.SynthesisRow, t.SYNTHESES.c.version)

    def files(self, run_id: str) -> list[r.FileRow]:
        return self._of_run(run_id, t.FILES, r.FileRow, t.FILES.c.path)

    def _of_run(self, run_id: str, table: Table, kind: type[T], order: Any) -> list[T]:
        with self._snapshot() as connection:
            self._run(connection, run_id)
            return load_rows(connection, table, kind, table.c.run_id == run_id, order)

    # --- history

    def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """The run's events with a seq above `after`, in order."""
        with self._snapshot() as connection:
            found = event_page(connection, run_id, after, limit)
            if not found:
                self._run(connection, run_id)
        return found

    def text(self, sha256: str) -> str:
        """A text by its hash, or by the first digits of it (at least 8) as the log has them.
        Raises `NotFound` when there is none, or more than one."""
        texts = t.TEXTS.c
        query = select(texts.body).where(texts.sha256 == sha256)
        if 8 <= len(sha256) < 64 and sha256.isalnum():
            query = select(texts.body).where(texts.sha256 >= sha256, texts.sha256 < f"{sha256}g")
        with self._snapshot() as connection:
            found = connection.execute(query.limit(2)).scalars().all()
        if len(found) != 1:
            problem = "names more than one text" if found else "names no text"
            raise NotFound(f"{sha256} {problem}.", field="sha256")
        return bytes(found[0]).decode("utf-8")

    # --- sums

    def totals(self) -> r.Totals:
        """Runs by status, and attempts by alias and end with their tokens and seconds."""
        made = t.MODEL_CALLS.c
        end = func.coalesce(made.failure_class, made.status).label("end")
        queue_s, call_s = made.dispatched_at - made.queued_at, made.ended_at - made.started_at
        query = (
            select(
                func.coalesce(made.alias, "").label("alias"),
                end,
                func.count().label("attempts"),
                func.count(queue_s).label("queued"),
                func.coalesce(func.sum(queue_s), 0.0).label("queue_s"),
                func.count(call_s).label("timed"),
                func.coalesce(func.sum(call_s), 0.0).label("call_s"),
                *token_sums(),
            )
            .where(made.status != "running")
            .group_by("alias", "end")
            .order_by("alias", "end")
        )
        counts = select(t.RUNS.c.status, func.count()).group_by(t.RUNS.c.status)
        with self._snapshot() as connection:
            found = {row[0]: row[1] for row in connection.execute(counts)}
            calls = tuple(load(r.CallTotals, row) for row in connection.execute(query))
        return r.Totals({status: found.get(status, 0) for status in RUN_STATUSES}, calls)
