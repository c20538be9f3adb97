"""`k8s/README.md` as a new user goes through it: every command, in order, in one shell.

No cluster is at hand, so `kubectl` is `cluster_stand_in.py`; its commands, and those of programs
that are not run here, say so in their names. Edits that the page asks for are made between the
commands.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.check import check
from tests.docs.markdown import blocks, commands, in_sentences
from tests.k8s.manifests import K8S, REPOSITORY, Manifest

PAGE = K8S / "README.md"
COMMANDS = [command for block in blocks(PAGE) for command in commands(block)]
KUBECTL = shutil.which("kubectl")
NOT_RUN = ("docker", "pip", "ray", "familiar")

# Programs that are not run here end well; a wait that would go on for ever ends the walk.
SHELL = """
set -uo pipefail
docker() { :; }; pip() { :; }; ray() { :; }; familiar() { :; }
kubectl() { "$PYTHON" -m tests.docs.cluster_stand_in "$@"; }
sleep() { echo "it would wait for ever" >&2; exit 1; }
"""
EDITS = {
    "FOLDER=": "sed -i 's/slots: 8/slots: 6/' k8s/base/cluster.yaml",
    "kubectl delete rayjob": "echo 'Another goal.' > k8s/job/goal.md",
    "kubectl apply -k k8s/restore": (
        "(cd $CLUSTER/files/var/lib/familiar; rm -r *; touch familiar.db familiar.db-wal)"
    ),
}
"""What a user does before a command that begins so."""


def named(command: str) -> str:
    first = " ".join(command.split())
    if "kubectl" in command:
        return f"without a cluster: {first}"
    return f"not run: {first}" if command.split(maxsplit=1)[0] in NOT_RUN else f"run: {first}"


@dataclass(frozen=True)
class Walk:
    """What each command said as a complaint, the objects at the end, and the folders."""

    complaints: list[str]
    objects: list[Manifest]
    copy: Path
    state: Path

    def only(self, kind: str, name: str) -> Manifest:
        (found,) = (
            item
            for item in self.objects
            if (item["kind"], item["metadata"]["name"]) == (kind, name)
        )
        return found


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, shared_dir: Path) -> Walk:
    if KUBECTL is None:
        pytest.skip("kubectl, which renders, is not installed")
    folder = tmp_path_factory.mktemp("walk")
    copy = folder / "repository"
    shutil.copytree(K8S, copy / "k8s")
    cluster = folder / "cluster"
    state = cluster / "files" / "var" / "lib" / "familiar"
    (state / "workspaces" / "s1").mkdir(parents=True)
    (state / "workspaces" / "s1" / "index.html").write_text("<p>Here.</p>")
    with sqlite3.connect(state / "familiar.db") as database:
        # Rows that are in the write-ahead log only.
        database.execute("pragma journal_mode = wal")
        database.execute("create table runs (id)")
        database.execute("insert into runs values ('r1')")
        database.commit()
        script = SHELL
        for number, command in enumerate(COMMANDS):
            script += "".join(
                f"{edit}\n" for begin, edit in EDITS.items() if command.startswith(begin)
            )
            script += (
                f"{{ {command}\n}} 2> $CLUSTER/{number}.err\necho $? > $CLUSTER/{number}.code\n"
            )
        subprocess.run(
            ["bash"],
            input=script + "wait\n",
            text=True,
            check=True,
            cwd=copy,
            timeout=300,
            env={
                **os.environ,
                "CLUSTER": str(cluster),
                "KUBECTL": KUBECTL,
                "DEFINITIONS": str(shared_dir / "crds"),
                "PYTHON": sys.executable,
                "PYTHONPATH": str(REPOSITORY),
            },
        )
    complaints = []
    for number in range(len(COMMANDS)):
        code = (cluster / f"{number}.code").read_text().strip()
        said = (cluster / f"{number}.err").read_text()
        complaints.append(said or ("" if code == "0" else f"it ended with {code}"))
    return Walk(complaints, json.loads((cluster / "objects.json").read_text()), copy, state)


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=map(named, COMMANDS))
def test_a_command_of_the_page(number: int, walk: Walk) -> None:
    assert walk.complaints[number] == ""
    check(COMMANDS[number])


@pytest.mark.parametrize("command", in_sentences(PAGE), ids=lambda text: f"not run: {text}")
def test_a_command_inside_a_sentence(command: str) -> None:
    check(command, whole=False)


def test_the_changed_configuration_is_in_config_map_and_application_and_stays(walk: Walk) -> None:
    config = walk.only("ConfigMap", "familiar-config")["data"]["cluster.yaml"]
    assert "slots: 6" in config
    service = walk.only("RayService", "familiar")["spec"]["serveConfigV2"]
    assert 'FAMILIAR_CONFIG_REVISION: "1"' not in service


def test_the_second_job_has_the_second_goal(walk: Walk) -> None:
    goal = walk.only("ConfigMap", "familiar-goal")["data"]["goal.md"]
    assert goal == "Another goal.\n"


def test_the_backup_is_back_with_rows_that_were_in_the_log_only(walk: Walk) -> None:
    assert sorted(path.name for path in walk.state.iterdir()) == ["familiar.db", "workspaces"]
    rows = sqlite3.connect(walk.state / "familiar.db").execute("select id from runs").fetchall()
    assert rows == [("r1",)]
    assert (walk.state / "workspaces" / "s1" / "index.html").read_text() == "<p>Here.</p>"
