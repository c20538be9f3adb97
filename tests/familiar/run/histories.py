"""Histories of every kind, simulated and recorded, and what a fold of them shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from familiar import event as ev
from familiar.limits import Price, RunLimits
from familiar.run.machine import RunMachine
from familiar.run.state import RunState
from familiar.run.upcast import upcast
from tests.familiar.run.simulation import limits

RECORDED = sorted((Path(__file__).parents[2] / "fixtures" / "histories").glob("*.jsonl"))
"""Histories that earlier versions recorded: one event a line."""


def _others(kind: Any, value: object) -> list[object]:
    """Values of a setting's type beside `value`: the smallest, a large one, every literal."""
    if get_origin(kind) in (Union, UnionType):
        return [other for part in get_args(kind) for other in _others(part, value)]
    if get_origin(kind) is Literal:
        return [other for other in get_args(kind) if other != value]
    if get_origin(kind) is Mapping:
        return [{}, *({name: _others(get_args(kind)[1], None)[0]} for name in ("p", "naughty"))]
    if kind is Price:
        return [Price(input_per_million=1e9, output_per_million=1e9)]
    known: dict[Any, list[object]] = {
        bool: [True, False],
        int: [0, 1, 9, 10**9],
        float: [1e-9, 1e9],
        str: ["another"],
        NoneType: [None],
    }
    return [other for other in known[kind] if other != value]


CHANGED: dict[str, RunLimits] = {
    f"{name}={other}": limits(**{name: other})
    for name, field in RunLimits.model_fields.items()
    for other in _others(field.annotation, getattr(limits(), name))
    if name != "version" and other != getattr(limits(), name)
}
"""Every setting of a run's limits, changed to other values of its type."""


def observable(state: RunState) -> dict[str, object]:
    return {field.name: getattr(state, field.name) for field in fields(state)}


def folded(history: Sequence[ev.Event], fallback: RunLimits) -> RunMachine:
    machine = RunMachine(history[0].run_id)
    for event in upcast(history, fallback):
        machine.apply(event)
    return machine


def as_before(history: Sequence[ev.Event]) -> list[ev.Event]:
    """The rows of `history` as an earlier version would have written them: without limits."""
    first, *rest = history
    row = json.loads(first.body_json())
    del row["limits"]
    old = ev.event_from_row(first.run_id, first.seq, first.epoch, first.at, json.dumps(row))
    return [old, *rest]


def noted(history: Sequence[ev.Event], held: RunLimits) -> list[ev.Event]:
    """`history` with `run.limits` as its next event."""
    last = history[-1]
    note = ev.Event(last.run_id, last.seq + 1, 2, last.at, ev.RunLimitsNoted(limits=held))
    return [*history, note]


def recorded_with(path: Path) -> RunLimits:
    """The limits that stood in the configuration: `NAME.limits.json` beside `NAME.jsonl`."""
    beside = path.with_suffix(".limits.json")
    return RunLimits.model_validate_json(beside.read_text()) if beside.exists() else limits()


def recorded(path: Path) -> Iterator[list[ev.Event]]:
    """The histories in a file, run by run."""
    runs: dict[str, list[ev.Event]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        body = row["body"] if isinstance(row["body"], str) else json.dumps(row["body"])
        event = ev.event_from_row(row["run_id"], row["seq"], row["epoch"], row["at"], body)
        runs.setdefault(event.run_id, []).append(event)
    yield from runs.values()
