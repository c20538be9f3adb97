"""`familiar serve`, and `familiar run` with a deployment of its own, with scripted engines."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.serve_app.command import familiar
from tests.serve_app.scripted import BROKEN, ENDLESS, ENDLESS_GOAL, GOAL, program, write_config

pytestmark = pytest.mark.ray
CLI = ("-m", "serve_app.cli")


def test_a_run_alone_fails_with_its_reason_and_its_code(tmp_path: Path) -> None:
    config = write_config(tmp_path, BROKEN)
    with program(*CLI, "run", GOAL, "--config", str(config)) as alone:
        assert alone.end() == 1, alone.said
        assert alone.left() == []
    assert "two failed, backend_refused" in alone.said
    assert "no such model" in alone.said
    assert "What to do:" in alone.said
    # The database tells the same afterwards, without any service.
    shown = familiar("show", "@last", "--config", str(config), "--json").document
    assert shown["run"]["status"] == "failed"
    assert shown["missing"] == ["two.md"]


def test_a_service_takes_goals_goes_on_unwatched_and_ends_by_down(tmp_path: Path) -> None:
    config = write_config(tmp_path, *ENDLESS)
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    options = ("--config", str(config))
    assert "does not run here" in familiar("down", *options, env=env).out
    with program(*CLI, "serve", *options, "--json", env=env) as service:
        url = json.loads(service.wait_for('{"url"'))["url"]
        ended = familiar("run", GOAL, *options, "--follow", "--json", env=env)
        assert ended.code == 0
        assert ended.lines[0]["url"] == url
        assert ended.lines[-1]["outcome"] == "succeeded"
        session = ended.lines[0]["session_id"]
        again = familiar("run", GOAL, "--url", url, "--session", session, "--follow")
        assert again.code == 0, again.err
        assert "smol:0" in familiar("pools", "--url", url).out
        replicas = familiar("pools", *options, "--json", env=env).document["pools"][0]["replicas"]
        assert {replica["state"] for replica in replicas} == {"ready"}

        with program(*CLI, "run", ENDLESS_GOAL, *options, "--follow", env=env) as watching:
            watching.wait_for("one.md is there")
            assert watching.end(signal.SIGINT) == 130, watching.said
        assert "goes on" in watching.said
        run = familiar("ls", *options, "--json", env=env).document["runs"][0]
        assert run["status"] == "running"
        assert familiar("cancel", run["run_id"], *options, env=env).code == 0
        assert familiar("show", "@last", *options, "--follow", env=env).code == 3

        while_up = familiar("store", "rebuild", *options, env=env)
        assert while_up.code == 4
        assert "familiar down" in while_up.err
        assert familiar("down", *options, env=env).code == 0
        assert service.end() == 143, service.said
        assert service.left() == []
    assert len(familiar("ls", *options, "--json", env=env).document["runs"]) == 3
    assert familiar("down", *options, "--json", env=env).document["ended"] is False
    rebuilt = familiar("store", "rebuild", *options, "--json", env=env)
    assert rebuilt.document["events"] > 0
