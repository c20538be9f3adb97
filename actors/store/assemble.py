"""How the readers' rows are put together from the tables: JSON read, attempts and edges joined in.

Used by `queries.py` only. Every function takes a connection whose snapshot its caller holds, and
makes a number of queries that does not grow with the number of rows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    cast,
    func,
    or_,
    select,
)

from actors.store import rows as r
from actors.store import tables as t

T = TypeVar("T")

Decoder = Callable[[Any], Any]


def _list(value: str | None) -> tuple[Any, ...]:
    return tuple(json.loads(value)) if value and value != "[]" else ()


def _mapping(value: str | None) -> dict[str, Any]:
    return json.loads(value) if value and value != "{}" else {}


def _count(value: int | None) -> int:
    """An attempt that has not ended has no counts yet."""
    return value or 0


_DECODERS: dict[str, Decoder] = {
    "files_wanted": _list,
    "needs": _list,
    "skipped_because": _list,
    "devices": _list,
    "repairs": _list,
    "reasons": _list,
    "inputs": _list,
    "detail": _mapping,
    "failure_evidence": _mapping,
    "prompt_tokens": _count,
    "output_tokens": _count,
    "cached_tokens": _count,
}


def columns(kind: type[Any], table: Table) -> tuple[Column[Any], ...]:
    """The columns of `table` that `kind` has fields for."""
    return tuple(table.c[field.name] for field in fields(kind) if field.name in table.c)


@cache
def _decoders(names: tuple[str, ...]) -> tuple[Decoder, ...]:
    return tuple(_DECODERS.get(name, lambda value: value) for name in names)


def token_sums() -> list[Any]:
    names = ("prompt_tokens", "output_tokens", "cached_tokens")
    columns = t.MODEL_CALLS.c
    return [
        cast(func.coalesce(func.sum(columns[name]), 0), BigInteger).label(name) for name in names
    ]


def load(kind: type[T], row: Row[Any], extra: Mapping[str, object] | None = None) -> T:
    """`row`, whose columns are named like fields of `kind`, with its lists and mappings read."""
    names = row._fields
    values = {
        name: decode(value)
        for name, decode, value in zip(names, _decoders(names), row, strict=True)
    }
    if extra:
        values.update(extra)
    return kind(**values)


def load_rows(
    connection: Connection, table: Table, kind: type[T], where: ColumnElement[bool], order: Any
) -> list[T]:
    """The rows of `table` as `kind`, by `order`."""
    query: Select[Any] = select(*columns(kind, table)).where(where).order_by(order)
    return [load(kind, row) for row in connection.execute(query)]


def load_calls(connection: Connection, run_id: str, call_id: str | None = None) -> list[r.CallRow]:
    """The calls of a run, or the one that is asked for: by turn, plan calls first."""

    def wanted(table: Table) -> ColumnElement[bool]:
        of_run = table.c.run_id == run_id
        return of_run if call_id is None else and_(of_run, table.c.call_id == call_id)

    attempts: defaultdict[str, list[r.AttemptRow]] = defaultdict(list)
    for one in load_rows(
        connection, t.MODEL_CALLS, r.AttemptRow, wanted(t.MODEL_CALLS), t.MODEL_CALLS.c.attempt
    ):
        attempts[one.call_id].append(one)
    edges: defaultdict[str, list[str]] = defaultdict(list)
    query = select(t.EDGES).where(wanted(t.EDGES)).order_by(t.EDGES.c.depends_on)
    for edge in connection.execute(query):
        edges[edge.call_id].append(edge.depends_on)
    done = _ended_well(connection, run_id)
    calls = []
    for row in connection.execute(
        select(*columns(r.CallRow, t.WORKER_CALLS)).where(wanted(t.WORKER_CALLS))
    ):
        depends_on = tuple(edges[row.call_id])
        ready = row.status == "planned" and done.issuperset(depends_on)
        extra = {
            "status": "queued" if ready else row.status,
            "depends_on": depends_on,
            "attempts": tuple(attempts[row.call_id]),
        }
        calls.append(load(r.CallRow, row, extra))
    return sorted(calls, key=_order)


def _ended_well(connection: Connection, run_id: str) -> set[str]:
    """The calls that no dependent waits for any more: a file counts once it is published."""
    calls = t.WORKER_CALLS.c
    query = select(calls.call_id).where(
        calls.run_id == run_id,
        or_(
            calls.status == "published",
            and_(calls.status == "succeeded", calls.output_file.is_(None)),
        ),
    )
    return set(connection.execute(query).scalars())


def _order(call: r.CallRow) -> tuple[int, int, int, str]:
    place = {"plan": 0, "worker": 1, "synthesis": 2}[call.kind]
    return (call.turn or 0, place, call.position or 0, call.call_id)


def load_runs(connection: Connection, found: Sequence[Row[Any]]) -> list[r.RunRow]:
    """Rows of `runs` with what is counted for them, in a fixed number of queries."""
    ids = [row.run_id for row in found]
    # One look into the key for each run; a GROUP BY would read every event with its body.
    newest = select(func.max(t.EVENTS.c.seq)).where(t.EVENTS.c.run_id == t.RUNS.c.run_id)
    seqs = select(t.RUNS.c.run_id, newest.scalar_subquery()).where(t.RUNS.c.run_id.in_(ids))
    last: dict[str, int | None] = {row[0]: row[1] for row in connection.execute(seqs)}
    turns = _by_run(connection, ids, t.TURNS, func.max(t.TURNS.c.turn))
    tokens = _by_run(connection, ids, t.MODEL_CALLS, func.count(), *token_sums())
    calls: defaultdict[str, dict[str, int]] = defaultdict(dict)
    status = t.WORKER_CALLS.c.status
    query = (
        select(t.WORKER_CALLS.c.run_id, status, func.count())
        .where(t.WORKER_CALLS.c.run_id.in_(ids))
        .group_by(t.WORKER_CALLS.c.run_id, status)
    )
    for run_id, name, count in connection.execute(query):
        calls[run_id][name] = count
    files: defaultdict[str, list[str]] = defaultdict(list)
    paths = select(t.FILES.c.run_id, t.FILES.c.path).where(t.FILES.c.run_id.in_(ids))
    for run_id, path in connection.execute(paths.order_by(t.FILES.c.path)):
        files[run_id].append(path)
    runs = []
    for row in found:
        run_id = row.run_id
        model_calls, prompt, output, cached = tokens.get(run_id, (0, 0, 0, 0))
        extra = {
            "files_made": tuple(files[run_id]),
            "last_seq": last.get(run_id) or 0,
            "turns": turns.get(run_id, (0,))[0],
            "calls": calls[run_id],
            "model_calls": model_calls,
            "prompt_tokens": prompt,
            "output_tokens": output,
            "cached_tokens": cached,
        }
        runs.append(load(r.RunRow, row, extra))
    return runs


def _by_run(
    connection: Connection, ids: Sequence[str], table: Table, *values: Any
) -> dict[str, tuple[Any, ...]]:
    run_id = table.c.run_id
    query = select(run_id, *values).where(run_id.in_(ids)).group_by(run_id)
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}
