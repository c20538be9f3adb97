"""The field study's failure and its cure, side by side: one goal, two prompts, the same engines.

Brings a private local Ray up, works on the goal with `orchestrator.prompt: v1` and then, on the
same replicas, with `v2`; prints both explanations and what differs; takes everything down. Exits 0
when the first run failed by an oversized call and the second succeeded, else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import ray
from rich.console import Console
from rich.rule import Rule

from actors.deploy import ensure_deployment, wait_ready
from actors.take_down import take_down
from cluster.local import start_local
from familiar.config.load import load_config
from familiar.config.schema import Config
from familiar.explain.cause import Cause
from familiar.explain.explanation import Explanation
from familiar.service import SubmitRun, namespace_of
from serve_app.client.database import DatabaseHistory
from serve_app.follow.explanation import print_difference, print_explanation
from serve_app.models import StreamEnd

HERE = Path(__file__).resolve().parent
READY_S = 120.0


def main() -> int:
    """Run the study; its exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keep", metavar="FOLDER", help="keep database and files there")
    kept = options.parse_args().keep
    console = Console(highlight=False)
    with contextlib.ExitStack() as stack:
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="fieldstudy-"))
        first = configured(Path(folder).resolve(), "v1")
        namespace = namespace_of(first.deployment)
        console.print("Starting a private local Ray; nothing of it stays.", style="dim")
        stack.enter_context(start_local(first.cluster, namespace=namespace))
        stack.callback(take_down, first.deployment)
        failed = worked_on(first, "v1", console)
        succeeded = worked_on(configured(Path(folder).resolve(), "v2"), "v2", console)
        console.print(Rule("what differs: a had v1, b had v2"))
        history = DatabaseHistory(first.store.url)
        print_difference(history.difference(failed.run_id, succeeded.run_id), console)
        history.close()
    as_told = failed.causes[0].cause is Cause.CALL_OVERSIZED and succeeded.outcome == "succeeded"
    return 0 if as_told and failed.outcome == "failed" else 1


def configured(folder: Path, prompt: str) -> Config:
    """The configuration with one of the two prompts, its database and files in `folder`."""
    overrides = {
        "orchestrator.prompt": prompt,
        "store.url": f"sqlite:///{folder}/familiar.db",
        "workspace.root": f"{folder}/workspaces",
    }
    return load_config(HERE / "config.yaml", overrides)


def worked_on(config: Config, prompt: str, console: Console) -> Explanation:
    """Work on the goal until its end, and explain it."""
    orchestrator = ensure_deployment(config)
    wait_ready(orchestrator, timeout_s=READY_S)
    goal = (HERE / "goal.md").read_text(encoding="utf-8")
    run_id = ray.get(orchestrator.submit.remote(SubmitRun(goal))).run_id
    history = DatabaseHistory(config.store.url)
    for message in history.stream(run_id):
        if isinstance(message, StreamEnd):
            break
    explained = history.explanation(run_id)
    history.close()
    console.print(Rule(f"orchestrator.prompt: {prompt} ({explained.outcome})"))
    print_explanation(explained, console)
    return explained


if __name__ == "__main__":
    sys.exit(main())
