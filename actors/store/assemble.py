"""How the readers' rows are put together from the tables: JSON read, tries and edges joined in.

Used by `queries.py` only. Every function takes a connection whose snapshot its caller holds, and
makes a number of queries that does not grow with the number of rows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Connection, Row, Table, cast, func, select

from actors.store import rows as r
from actors.store import tables as t

T = TypeVar("T")

_LISTS = {
    "files_wanted",
    "mends",
    "needs",
    "skipped_because",
    "devices",
    "repairs",
    "reasons",
    "inputs",
}
_MAPPINGS = {"detail", "failure_evidence"}


def token_sums() -> list[Any]:
    names = ("prompt_tokens", "output_tokens", "cached_tokens")
    columns = t.MODEL_CALLS.c
    return [
        cast(func.coalesce(func.sum(columns[name]), 0), BigInteger).label(name) for name in names
    ]


def load(kind: type[T], row: Row[Any], extra: Mapping[str, object] | None = None) -> T:
    """`row` as `kind`, with lists and mappings read from their JSON."""
    found = row._mapping
    values: dict[str, Any] = dict(extra or {})
    for field in fields(kind):  # type: ignore[arg-type]
        name = field.name
        if name in values:
            continue
        value = found[name]
        if name in _LISTS:
            value = tuple(json.loads(value)) if value else ()
        elif name in _MAPPINGS:
            value = json.loads(value) if value else {}
        values[name] = value
    return kind(**values)


def load_rows(
    connection: Connection, run_id: str, table: Table, kind: type[T], order: Any
) -> list[T]:
    query = select(table).where(table.c.run_id == run_id).order_by(order)
    return [load(kind, row) for row in connection.execute(query)]


def load_calls(connection: Connection, run_id: str) -> list[r.CallRow]:
    tries: defaultdict[str, list[r.TryRow]] = defaultdict(list)
    for one in load_rows(connection, run_id, t.MODEL_CALLS, r.TryRow, t.MODEL_CALLS.c.attempt):
        tries[one.call_id].append(one)
    edges: defaultdict[str, list[str]] = defaultdict(list)
    query = select(t.EDGES).where(t.EDGES.c.run_id == run_id).order_by(t.EDGES.c.depends_on)
    for edge in connection.execute(query):
        edges[edge.call_id].append(edge.depends_on)
    found = connection.execute(
        select(t.WORKER_CALLS).where(t.WORKER_CALLS.c.run_id == run_id)
    ).all()
    ended_well = {
        row.call_id
        for row in found
        if row.status == "published" or (row.status == "succeeded" and row.output_file is None)
    }
    calls = []
    for row in found:
        depends_on = tuple(edges[row.call_id])
        status = row.status
        if status == "planned" and ended_well.issuperset(depends_on):
            status = "queued"
        extra = {
            "status": status,
            "depends_on": depends_on,
            "tries": tuple(tries[row.call_id]),
        }
        calls.append(load(r.CallRow, row, extra))
    return sorted(calls, key=_order)


def _order(call: r.CallRow) -> tuple[int, int, int, str]:
    place = {"plan": 0, "worker": 1, "synthesis": 2}[call.kind]
    return (call.turn or 0, place, call.position or 0, call.call_id)


def load_runs(connection: Connection, found: Sequence[Row[Any]]) -> list[r.RunRow]:
    """Rows of `runs` with what is counted for them, in a fixed number of queries."""
    ids = [row.run_id for row in found]
    seqs = _by_run(connection, ids, t.EVENTS, func.max(t.EVENTS.c.seq))
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
            "last_seq": seqs.get(run_id, (0,))[0],
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
