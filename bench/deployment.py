"""A deployment to measure: scripted engines on a private local Ray, everything else as in
production."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.deploy import ensure_deployment, wait_ready
from actors.store.queries import Reader
from actors.store.rows import RunRow
from actors.take_down import take_down
from cluster.local import start_local
from familiar.config.schema import Config
from familiar.event import Event
from familiar.service import SubmitRun, namespace_of

LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Deployment:
    config: Config
    orchestrator: Any
    reader: Reader
    folder: Path

    @property
    def url(self) -> str:
        """Of the API, where it is served."""
        return f"http://127.0.0.1:{self.config.api.port}"

    def run(self, goal: str, *, timeout_s: float = 300.0) -> list[Event]:
        """Submit a goal, wait for its end, and give back its history. Raises when it failed."""
        return self.wait(self.submit(goal), timeout_s=timeout_s)

    def submit(self, goal: str) -> str:
        receipt = ray.get(self.orchestrator.submit.remote(SubmitRun(goal=goal)))
        return str(receipt.run_id)

    def wait(self, run_id: str, *, timeout_s: float = 300.0) -> list[Event]:
        """The history of a run, once it has ended. Nothing follows the run meanwhile: a look at the
        database now and then costs the orchestrator nothing."""
        deadline = time.monotonic() + timeout_s
        while (row := self.reader.head(run_id)).outcome is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {run_id} has not ended in {timeout_s:g} s")
            time.sleep(LOOK_S)
        if row.outcome != "succeeded":
            raise RuntimeError(f"run {run_id} {row.outcome}: {row.reason}")
        return self.history(run_id)

    def wait_all(self, run_ids: Sequence[str], *, timeout_s: float) -> list[RunRow]:
        """The rows of runs, once all of them have ended. Raises when one failed."""
        deadline = time.monotonic() + timeout_s
        wanted, rows = set(run_ids), dict[str, RunRow]()
        while wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(wanted)} runs have not ended in {timeout_s:g} s")
            time.sleep(LOOK_S)
            for run_id in list(wanted):
                if self.reader.head(run_id).outcome is None:
                    break
                row = self.reader.run(run_id)
                if row.outcome != "succeeded":
                    raise RuntimeError(f"run {run_id} {row.outcome}: {row.reason}")
                rows[run_id] = row
                wanted.discard(run_id)
        return list(rows.values())

    def history(self, run_id: str) -> list[Event]:
        events: list[Event] = []
        while page := self.reader.events(run_id, after=len(events), limit=1000):
            events += page
        return events


@contextmanager
def served(settings: Mapping[str, Any], *, ready_s: float = 120.0) -> Iterator[Deployment]:
    """Like `deployment`, with the API over HTTP on a free port of loopback."""
    from ray import serve

    from serve_app.serving import deploy

    with socket.create_server(("127.0.0.1", 0)) as free:
        api = {"auth": "none", "port": free.getsockname()[1]}
    with deployment({**settings, "api": api}, ready_s=ready_s) as target:
        try:
            deploy(target.config, shared=False)
            yield target
        finally:
            serve.shutdown()


@contextmanager
def deployment(settings: Mapping[str, Any], *, ready_s: float = 120.0) -> Iterator[Deployment]:
    """Bring a configuration up in a folder of its own, and take it down again."""
    with tempfile.TemporaryDirectory(prefix="fambench-") as folder:
        config = Config.model_validate(
            {
                "deployment": "bench",
                "api": {"auth": "none"},
                "store": {"url": f"sqlite:///{folder}/bench.db"},
                "workspace": {"root": f"{folder}/workspaces"},
                **settings,
            }
        )
        with start_local(config.cluster, namespace=namespace_of(config.deployment)):
            orchestrator = ensure_deployment(config)
            wait_ready(orchestrator, timeout_s=ready_s)
            reader = Reader.open(config.store.url)
            try:
                yield Deployment(config, orchestrator, reader, Path(folder))
            finally:
                reader.close()
                take_down(config.deployment)
