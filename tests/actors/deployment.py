"""A whole deployment with scripted engines on the shared Ray, and what tests do with it.

Two pools: `near` has two replicas, `far` has one. Every run of `GOAL` has the same plan, made by a
scripted model: files and texts over both pools, with dependencies between them. `SLOW_GOAL` has two
long texts instead.
`invocations` is the engines' own account of what they were asked to generate.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from actors.deploy import ensure_deployment, wait_ready
from actors.store.queries import Reader
from actors.take_down import take_down
from familiar.config.schema import Config
from familiar.event import Event, RunEnded
from familiar.service import ReplicaView, RunReceipt, SubmitRun, namespace_of
from tests import shared_ray

PATIENCE_S = 120.0

PLAN: dict[str, Any] = {
    "continue": False,
    "worker_calls": [
        {"id": "one", "alias": "naughty", "prompt": "Write one.md.", "output_file": "one.md"},
        {"id": "two", "alias": "naughty", "prompt": "Write two.md.", "output_file": "two.md"},
        {"id": "look", "alias": "grandpa", "prompt": "Look at it.", "depends_on": ["one"]},
        {
            "id": "three",
            "alias": "scribe",
            "prompt": "Write three.md.",
            "depends_on": ["one"],
            "output_file": "three.md",
        },
        {
            "id": "four",
            "alias": "naughty",
            "prompt": "Write four.md.",
            "depends_on": ["look", "two"],
            "output_file": "four.md",
        },
    ],
}
FILES = ("one.md", "two.md", "three.md", "four.md")
GOAL = "Write `one.md`, `two.md`, `three.md` and `four.md`."

SLOW = "take-your-time"
SLOW_GOAL = f"Talk for some seconds, {SLOW}."
SLOW_PLAN: dict[str, Any] = {
    "continue": False,
    "worker_calls": [
        {"id": "talk", "alias": "naughty", "prompt": f"Talk, {SLOW}."},
        {"id": "listen", "alias": "grandpa", "prompt": f"Listen, {SLOW}."},
    ],
}
"""Two calls that stream for some seconds, one in each pool."""

WORDS = "# $call of $run, attempt $attempt\n\n" + " ".join(f"word{n}" for n in range(24)) + "\n"


def script(folder: Path, **changes: object) -> dict[str, Any]:
    """Streams of half a second to a second, so that something is always in flight."""
    return {
        "rates": {"ttft_s": 0.05, "tokens_per_s": 60, "jitter": 0.5},
        "rules": [
            {
                "when": {"call": "plan-*", "contains": SLOW},
                "answer": json.dumps(SLOW_PLAN),
                "rates": {"tokens_per_s": 400},
            },
            {
                "when": {"call": "plan-*"},
                "answer": json.dumps(PLAN),
                "rates": {"tokens_per_s": 400},
            },
            {"when": {"call": "synthesis-*"}, "answer": "Done."},
            {"when": {"contains": SLOW}, "rates": {"tokens_per_s": 5}},
        ],
        "answer": {"template": WORDS},
        "invocations": str(folder / "invocations"),
        **changes,
    }


def scripted_config(folder: Path, **changes: Any) -> Config:
    """The deployment of this module; `changes` replace top-level keys."""
    engine_args = {"script": script(folder)}
    pool = {"engine": "scripted", "model": "script", "slots": 16, "health_interval_s": 1.0}
    alias = {"parallel": 32, "first_token_deadline_s": 60.0, "stall_deadline_s": 30.0}
    settings: dict[str, Any] = {
        "deployment": "test",
        "pools": {
            "near": {
                **pool,
                "replicas": [{"cores": [0]}, {"cores": [1]}],
                "engine_args": engine_args,
            },
            "far": {**pool, "replicas": [{}], "engine_args": engine_args},
        },
        "aliases": {
            "orchestrator": {**alias, "pool": "near"},
            "naughty": {**alias, "pool": "near", "mode": "output_file"},
            "scribe": {**alias, "pool": "far", "mode": "output_file"},
            "grandpa": {**alias, "pool": "far"},
        },
        "budgets": {"attempts": 12},
        "store": {"url": f"sqlite:///{folder}/familiar.db"},
        "workspace": {"root": str(folder / "workspaces")},
        "api": {"auth": "none"},
        **changes,
    }
    return Config.model_validate(settings)


def store_url(request: pytest.FixtureRequest, folder: Path, name: str = "familiar") -> str:
    """A new database of the kind that the parameter of a fixture names."""
    if request.param == "sqlite":
        return f"sqlite:///{folder}/{name}.db"
    assert request.param == "postgresql"
    new: str = request.getfixturevalue("postgres_urls")()
    return new


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of an engine's `generate`; `at` in seconds since the Unix epoch."""

    run: str
    call: str
    attempt: int
    replica: str
    at: float


@dataclass(slots=True)
class Deployment:
    """A deployment that is up. Whatever asks an actor goes on when that actor was just killed."""

    config: Config
    folder: Path
    orchestrator: Any
    reader: Reader
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Idempotency key to run id, of every run that was acknowledged."""

    # Runs.

    def submit(self, goal: str = GOAL, files: tuple[str, ...] | None = None) -> str:
        """Submit a run, with the same key until it is acknowledged; its id."""
        key = f"key-{len(self.acknowledged)}"
        request = SubmitRun(goal, idempotency_key=key, files=files)
        receipt: RunReceipt = self.ask(lambda: self.orchestrator.submit.remote(request))
        self.acknowledged[key] = receipt.run_id
        return receipt.run_id

    def history(self, run_id: str) -> list[Event]:
        events: list[Event] = []
        while page := self.reader.events(run_id, after=len(events)):
            events += page
            if isinstance(events[-1].body, RunEnded):
                break
        return events

    def wait_ended(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            wait_for(partial(self._has_ended, run_id), f"the end of {run_id}")

    def _has_ended(self, run_id: str) -> bool:
        return self.reader.run(run_id).ended_at is not None

    def invocations(self) -> list[Invocation]:
        path = self.folder / "invocations"
        lines = path.read_text().splitlines() if path.exists() else []
        made = []
        for line in map(json.loads, lines):
            run, call, attempt = line["request_id"].rsplit("/", 2)
            made.append(Invocation(run, call, int(attempt), line["replica"], line["at"]))
        return made

    # Actors.

    def ask(self, question: Callable[[], Any]) -> Any:
        """The answer of an actor, asked again while it is being restarted."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ray.get(question(), timeout=PATIENCE_S)
            except (RayActorError, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def actor(self, name: str) -> Any:
        return ray.get_actor(name, namespace=namespace_of(self.config.deployment))

    def pid(self, name: str) -> int:
        """The process of the actor `name`."""
        found: int = self.ask(lambda: self.actor(name).__ray_call__.remote(_pid))
        return found

    def replicas(self) -> dict[str, ReplicaView]:
        pools = self.ask(self.orchestrator.pools.remote)
        return {replica.replica: replica for pool in pools for replica in pool.replicas}

    def arm(self, step: str) -> Path:
        """Have the next process that reaches `step` (see `actors.crash`) die there. The file that
        says so is returned."""
        armed = shared_ray.running().armed
        draft = armed.with_name("draft")
        draft.write_text(step)
        draft.rename(armed)
        return armed

    def wait_replaced(self, name: str, pid: int) -> None:
        """Wait until another process than `pid` serves as the actor `name`."""
        if name.startswith("replica:"):
            replica = name.removeprefix("replica:")
            wait_for(
                lambda: self.replicas()[replica].state == "ready" and self.pid(name) != pid,
                f"the successor of {name}",
            )
        else:
            wait_for(lambda: self.pid(name) != pid, f"the successor of {name}")

    def redeploy(self, config: Config) -> None:
        """Bring the same deployment up from another configuration."""
        self.config = config
        self.orchestrator = ensure_deployment(config)
        wait_ready(self.orchestrator, timeout_s=PATIENCE_S)


def _pid(_: object) -> int:
    return os.getpid()


@contextlib.contextmanager
def deployed(config: Config, folder: Path) -> Iterator[Deployment]:
    """Bring a configuration up on the shared Ray, and take it down again."""
    ray_of_tests = shared_ray.running()
    orchestrator = ensure_deployment(config)
    reader: Reader | None = None
    try:
        wait_ready(orchestrator, timeout_s=PATIENCE_S)
        reader = Reader.open(config.store.url)
        yield Deployment(config, folder, orchestrator, reader)
    finally:
        if reader is not None:
            reader.close()
        ray_of_tests.armed.unlink(missing_ok=True)
        take_down(config.deployment)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object], what: str, *, pause_s: float = 0.02) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come in {PATIENCE_S:g} s")
        time.sleep(pause_s)


def git(root: str, *args: str) -> str:
    done = subprocess.run(
        ["git", "-c", f"safe.directory={root}", *args],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def plan_of(events: Iterable[Event]) -> list[Mapping[str, Any]]:
    """The calls of the accepted plan, as a model would have written them."""
    accepted = [event.body for event in events if event.body.type == "plan.accepted"]
    assert len(accepted) == 1
    return [
        {key: value for key, value in call.model_dump(mode="json").items() if value}
        for call in accepted[0].calls
    ]
