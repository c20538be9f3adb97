"""The commands of README.md, run as they stand there, and the job line of `k8s/README.md`.

Changed are the port, the engines of the configuration, and the address of the job server. The first
two commands, `make demo` and `make test`, are those of `scripts/`; `tests/serve_app/test_demo.py`
runs the demo.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.local import LocalCluster, start_local
from familiar.config.schema import ClusterConfig
from tests.docs.check import REPOSITORY
from tests.docs.markdown import blocks, commands, in_sentences
from tests.serve_app.command import familiar
from tests.serve_app.scripted import GOAL, MARK, PATIENCE_S, free_port, marked, write_config

README = REPOSITORY / "README.md"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
KUBERNETES = REPOSITORY / "k8s" / "README.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a goal and a configuration, and nothing else."""
    (tmp_path / "state").mkdir()
    settings = yaml.safe_load(write_config(tmp_path / "state").read_text())
    settings["api"] |= {"auth": "bearer", "keys": ["env:FAMILIAR_KEY"]}
    found = tmp_path / "goals"
    found.mkdir()
    (found / "mine.yaml").write_text(yaml.safe_dump(settings))
    (found / "goal.md").write_text(GOAL)
    return found


def shell(script: str, folder: Path, **env: str) -> str:
    """What a script printed; it ends well."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=script,
        cwd=folder,
        env={**os.environ, "PATH": PATH, "PYTHONPATH": str(REPOSITORY), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_configuration_of_the_page_is_valid(tmp_path: Path) -> None:
    (text,) = blocks(README, "yaml")
    (tmp_path / "mine.yaml").write_text(text)
    checked = familiar("config", "check", str(tmp_path / "mine.yaml"))
    assert checked.code == 0, checked.err


@pytest.mark.ray
def test_a_service_takes_goals_until_it_is_ended(folder: Path) -> None:
    (block,) = (block for block in blocks(README) if "familiar serve" in block)
    port = yaml.safe_load((folder / "mine.yaml").read_text())["api"]["port"]
    script = ""
    for command in commands(block.replace("8321", str(port))):
        if "activate" not in command:
            script += f"{command}\n"
        if command.startswith("familiar serve"):
            script += f"until curl -sf http://127.0.0.1:{port}/readyz; do sleep 0.2; done\n"
    mark = uuid.uuid4().hex
    said = shell(f"{script}wait\n", folder, **{MARK: mark})
    assert "familiar serves at" in said
    assert "succeeded after" in said
    assert '"run_id":' in said
    assert "Deployment scripted has ended." in said
    assert marked(mark) == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A cluster whose nodes find familiar as `python -m serve_app.job`, as in the image."""
    settings = ClusterConfig(num_cpus=6, object_store_mib=100)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", PATH)
        with start_local(settings, namespace="jobs", dashboard_port=free_port()) as started:
            yield started


def job_lines() -> dict[str, str]:
    (ours,) = (line for line in in_sentences(README) if line.startswith("ray job submit"))
    (theirs,) = (
        command
        for block in blocks(KUBERNETES)
        for command in commands(block)
        if command.startswith("ray job submit")
    )
    return {"README.md": ours, "k8s/README.md": theirs}


@pytest.mark.ray
@pytest.mark.parametrize("page", job_lines())
def test_a_job_is_submitted_from_a_folder_of_goal_and_configuration(
    page: str, folder: Path, cluster: LocalCluster
) -> None:
    assert cluster.dashboard_url is not None
    line = job_lines()[page]
    # The resource of the control pod; a head node has one of its own.
    line = line.replace("familiar_control", "node:__internal_head__")
    line = line.replace("http://127.0.0.1:8265", cluster.dashboard_url)
    line = line.replace("/etc/familiar/cluster.yaml", str(folder / "mine.yaml"))
    line = line.replace("--working-dir goals", "--working-dir .")
    said = shell(line, folder, RAY_API_SERVER_ADDRESS=cluster.dashboard_url)
    assert "succeeded after" in said
    assert "one.md" in said
