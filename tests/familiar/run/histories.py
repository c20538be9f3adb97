"""Histories of every kind, simulated and recorded, and what a fold of them shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from familiar import event as ev
from familiar.limits import Price, RunLimits
from familiar.run.machine import RunMachine
from familiar.run.state import RunState
from familiar.run.upcast import upcast
from tests.familiar.run.simulation import limits

RECORDED = sorted((Path(__file__).parents[2] / "fixtures" / "histories").glob("*.jsonl"))
"""Histories that earlier versions recorded: one event a line."""

CHANGED: dict[str, RunLimits] = {
    "alias": limits(orchestrator_alias="another"),
    "no plan attempts": limits(plan_tries=0),
    "one plan attempt": limits(plan_tries=1),
    "many plan attempts": limits(plan_tries=9),
    "no rules planner": limits(rules_planner=False),
    "no synthesis": limits(synthesis=False),
    "partial by a model": limits(partial_synthesis="model"),
    "no partial": limits(partial_synthesis="none"),
    "turns": limits(turns=1),
    "model calls": limits(model_calls=1),
    "tokens": limits(tokens=1),
    "output tokens": limits(output_tokens=1),
    "attempts": limits(attempts=1),
    "wall": limits(wall_s=0.001),
    "recoveries": limits(recoveries=0),
    "soft": limits(soft=0.01),
    "money": limits(money=1e-9, prices={"p": Price(input_per_million=1.0, output_per_million=1.0)}),
}
"""Every setting that a decision of the machine reads, changed."""


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
