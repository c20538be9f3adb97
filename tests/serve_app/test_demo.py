"""`make demo` with scripted engines: from goal to files over HTTP, and nothing left behind, also
when it is interrupted in whichever phase."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from actors.store.queries import Reader
from familiar.config.load import load_config
from familiar.goal import read_goal
from tests.serve_app.scripted import GOAL, program, write_config

pytestmark = pytest.mark.long

PAGES = ("index", "services", "doctors", "info", "visit", "access")


def words(folder: Path, config: Path) -> tuple[str, ...]:
    goal = folder / "goal.md"
    goal.write_text(GOAL)
    return ("-m", "serve_app.demo", "--file", str(goal), "--config", str(config))


def test_the_goal_of_the_demo_names_its_files_and_says_something_of_each(repository: Path) -> None:
    text = (repository / "examples" / "dental-clinic.md").read_text()
    assert len(text.encode()) < 6_000
    goal = read_goal(text, max_bytes=100_000)
    assert goal.files == (*(f"{page}.html" for page in PAGES), "README.md")
    for file in goal.files:
        assert len(goal.about(file)) > 80
    assert "pricing table" in goal.about("services.html")
    assert "modal" in goal.about("info.html")


@pytest.mark.ray
def test_a_demo_goes_from_goal_to_files_and_ends_clean(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    # Its port is taken, which must not stop a demo.
    port = yaml.safe_load(config.read_text())["api"]["port"]
    with socket.create_server(("127.0.0.1", port)), program(*words(tmp_path, config)) as demo:
        assert demo.end() == 0, demo.said
        assert demo.left() == []
    for said in (
        "This demo uses port",
        "✓ Ray",
        "✓ service",
        "✓ engines",
        "✓ run",
        "✓ shutdown",
        "turn 1: the model, 2 worker call(s)",
        "wall time: Ray",
    ):
        assert said in demo.said
    (workspace,) = (tmp_path / "workspaces").glob("s-*")
    history = subprocess.run(
        ["git", "-C", str(workspace), "log", "--format=", "--name-only"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert sorted(history) == ["one.md", "two.md"]


@pytest.mark.ray
@pytest.mark.parametrize("phase", ["Ray", "service", "engines", "run"])
def test_an_interrupt_in_any_phase_leaves_no_process(tmp_path: Path, phase: str) -> None:
    slow = {"start": {"seconds": 600}} if phase == "engines" else {}
    forever = {"when": {"call": "two"}, "rates": {"ttft_s": 600}}
    config = write_config(tmp_path, forever, **slow)
    with program(*words(tmp_path, config)) as demo:
        demo.wait_for(f"▸ {phase}")
        if phase == "run":
            demo.wait_for("one.md is there")
        assert demo.end(signal.SIGINT) == 130, demo.said
        assert demo.left() == []
    if phase == "run":
        reader = Reader.open(load_config(config).store.url)
        (run,) = reader.list_runs()
        reader.close()
        assert run.status == "cancelled"
        assert run.files_made == ("one.md",)


@pytest.mark.ray
def test_an_interrupt_before_everything_is_quiet(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with program(*words(tmp_path, config)) as demo:
        demo.process.send_signal(signal.SIGTERM)
        assert demo.end() in (-signal.SIGTERM, 143)
        assert demo.left() == []
        assert "Traceback" not in demo.said
