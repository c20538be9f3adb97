"""Rows of earlier versions stay readable: names are translated when a row is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from familiar import event as ev
from familiar.call import Failure, Timing, Usage
from familiar.errors import FailureClass

FAILED: Mapping[str, Any] = {
    "type": "call.failed",
    "call": "a",
    "attempt": 1,
    "kind": "worker",
    "failure": {"failure_class": "internal", "message": "no", "evidence": {"n": 1, "s": [1.5]}},
    "timing": {"started_at": 1.0, "ended_at": 2.0, "longest_gap_s": 0.5},
    "usage": {"prompt_tokens": 3, "output_tokens": 4, "cached_tokens": 0},
}


def read(row: Mapping[str, Any]) -> ev.Event:
    return ev.event_from_row("r", 1, 1, 0.0, json.dumps(row))


def written(event: ev.Event) -> Any:
    return json.loads(event.body_json())


def test_the_repairs_of_a_plan() -> None:
    problem = {"code": "path", "message": "a leading slash was removed"}
    row = {"type": "plan.accepted", "turn": 1, "planner": "model", "continue_": False, "calls": []}
    event = read({**row, "mends": [problem]})
    assert isinstance(event.body, ev.PlanAccepted)
    assert [found.code for found in event.body.repairs] == ["path"]
    assert written(event)["repairs"] == [problem]
    assert "mends" not in written(event)
    assert read({**row, "repairs": [problem]}).body == event.body


def test_a_partial_was_the_path_of_a_file_and_later_a_second_reference_to_the_answer() -> None:
    event = read({**FAILED, "partial": ".familiar/r/a.1.part"})
    assert isinstance(event.body, ev.CallFailed)
    assert event.body.raw is None
    assert not event.body.partial_incomplete
    ref = ev.text_ref("half").model_dump()
    for row in ({"partial": ref}, {"partial": ref, "raw": ref}, {"raw": ref}):
        kept = read({**FAILED, **row, "partial_incomplete": True})
        assert isinstance(kept.body, ev.CallFailed)
        assert kept.body.raw == ev.text_ref("half")
        assert kept.body.partial_incomplete
        assert "partial" not in written(kept)
        assert read(written(kept)).body == kept.body


def test_timing_usage_and_failure_are_the_values_of_a_call_and_their_json_is_as_before() -> None:
    event = read(FAILED)
    assert isinstance(event.body, ev.CallFailed)
    assert event.body.timing == Timing(started_at=1.0, ended_at=2.0, longest_gap_s=0.5)
    assert event.body.usage == Usage(3, 4)
    assert event.body.failure == Failure(FailureClass.INTERNAL, "no", {"n": 1, "s": [1.5]})
    assert written(event) == {**FAILED, "partial_incomplete": False}


@pytest.mark.parametrize("name", ["timing", "usage", "failure"])
def test_an_unknown_field_inside_of_a_value_is_rejected(name: str) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        read({**FAILED, name: {**FAILED[name], "surprise": 1}})


def test_a_class_that_nothing_produces_any_more_is_read() -> None:
    failure = {**FAILED["failure"], "failure_class": "workbench_lost"}
    event = read({**FAILED, "failure": failure})
    assert isinstance(event.body, ev.CallFailed)
    assert event.body.failure.failure_class == "workbench_lost"


def test_a_submission_without_limits_is_read() -> None:
    row = {"type": "run.submitted", "session_id": "s", "workspace": "/w", "config_hash": "c"}
    event = read({**row, "goal": ev.text_ref("g").model_dump()})
    assert isinstance(event.body, ev.RunSubmitted)
    assert event.body.limits is None
