"""The field study as a person runs it: the failure is explained, its cure works, nothing stays."""

from __future__ import annotations

import pytest

from tests.serve_app.scripted import program

pytestmark = pytest.mark.ray


def test_one_command_shows_the_failure_the_cure_and_the_difference() -> None:
    with program("examples/field-study/run.py", env={"COLUMNS": "200"}) as study:
        assert study.end() == 0, study.said
        said = study.said
        assert not study.left()
    failure, cure = said.split("orchestrator.prompt: v1 (failed)")[1].split(
        "orchestrator.prompt: v2 (succeeded)"
    )
    assert failure.split()[1] == "call_oversized"
    assert "w1" in failure
    for excluded in ("backend_unreachable:", "backend_slow:", "backend_stalled:", "queue_timeout:"):
        assert excluded in failure.split("ruled out")[1]
    assert "plan_repeated" in failure.split("also seen")[1]
    difference = cure.split("what differs")[1]
    for section in ("outcome", "prompts", "plan", "routes", "tokens", "times", "syntheses"):
        assert section in difference
