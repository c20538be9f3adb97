"""A user's repository is checked before a model is asked, and so is every plan."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from familiar.errors import Conflict
from familiar.event import PlanAccepted, PlanRejected
from tests.actors.deployment import Deployment, deployed, local_ray, script, scripted_config

pytestmark = pytest.mark.ray


def git(root: Path, *args: str, code: int = 0) -> None:
    identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"]
    done = subprocess.run(["git", *identity, *args], cwd=root, check=False, capture_output=True)
    assert done.returncode == code, done.stderr


def plan(file: str) -> str:
    call = {"id": "one", "alias": "naughty", "prompt": f"Write {file}.", "output_file": file}
    return json.dumps({"continue": False, "worker_calls": [call]})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("user") / "repository"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    (made / "page.md").write_text("page\n")
    git(made, "add", ".")
    git(made, "commit", "-q", "-m", "first")
    return made


@pytest.fixture(scope="module")
def deployment(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("repository")
    answers: list[dict[str, Any]] = [
        {
            "when": {"call": "plan-*", "contains": "automate", "attempt": 1},
            "answer": plan("Makefile"),
        },
        {
            "when": {"call": "plan-*", "contains": "improve", "attempt": 1},
            "answer": plan("page.md"),
        },
        {"when": {"call": "plan-*"}, "answer": plan("notes.md")},
        {"when": {"call": "synthesis-*"}, "answer": "Done."},
    ]
    made = script(folder, rules=answers)
    pool = {"engine": "scripted", "model": "script", "slots": 16, "engine_args": {"script": made}}
    alias = {"pool": "near", "parallel": 32}
    config = scripted_config(
        folder,
        pools={"near": {**pool, "replicas": [{}]}},
        aliases={"orchestrator": alias, "naughty": {**alias, "mode": "output_file"}},
        workspace={"root": str(folder / "workspaces"), "repository": str(root)},
    )
    with local_ray(), deployed(config, folder) as running:
        yield running


def rejected(deployment: Deployment, run_id: str) -> list[str]:
    deployment.wait_ended([run_id])
    bodies = [event.body for event in deployment.history(run_id)]
    assert any(isinstance(body, PlanAccepted) for body in bodies)
    plans = [body for body in bodies if isinstance(body, PlanRejected)]
    return [problem.code for body in plans for problem in body.problems]


def test_a_plan_that_names_a_file_of_its_own_accord_that_programs_act_on_is_asked_again(
    deployment: Deployment, root: Path
) -> None:
    run_id = deployment.submit("Please automate this.")
    assert rejected(deployment, run_id) == ["acting_path"]
    assert not (root / "Makefile").exists()
    assert (root / "notes.md").exists()


def test_a_plan_for_a_file_with_changes_of_the_user_is_asked_again_before_its_text_is_made(
    deployment: Deployment, root: Path
) -> None:
    (root / "page.md").write_text("mine\n")
    run_id = deployment.submit("Please improve this.")
    assert rejected(deployment, run_id) == ["path_blocked"]
    assert (root / "page.md").read_text() == "mine\n"
    git(root, "checkout", "-q", "page.md")


def test_a_goal_that_cannot_be_met_is_rejected_before_a_model_is_asked(
    deployment: Deployment, root: Path
) -> None:
    before = len(deployment.invocations())
    (root / "page.md").write_text("mine\n")
    with pytest.raises(Conflict, match="not committed"):
        deployment.submit("Write `page.md`.")
    git(root, "checkout", "-q", "-b", "other")
    git(root, "commit", "-q", "-a", "-m", "mine")
    git(root, "checkout", "-q", "main")
    (root / "page.md").write_text("theirs\n")
    git(root, "commit", "-q", "-a", "-m", "theirs")
    git(root, "merge", "other", code=1)
    with pytest.raises(Conflict, match="a merge is in progress"):
        deployment.submit("Write `other.md`.")
    assert len(deployment.invocations()) == before
