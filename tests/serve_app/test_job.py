"""`python -m serve_app.job` through the real job server, with token authentication on."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray
import yaml
from ray.job_submission import JobStatus, JobSubmissionClient

from actors.deploy import ensure_deployment, wait_ready
from actors.store.queries import Reader
from actors.take_down import take_down
from actors.users import UNUSED_S, User
from cluster.groups import reservations
from cluster.local import LocalCluster, start_local
from cluster.named_actor import list_actors
from familiar.config.load import load_config
from familiar.config.schema import ClusterConfig
from familiar.service import namespace_of
from serve_app.job import RAY_ADDRESS
from tests.cluster.jobs import foreign_ray, submitted
from tests.serve_app.command import familiar
from tests.serve_app.scripted import (
    BROKEN,
    ENDLESS,
    ENDLESS_GOAL,
    GOAL,
    PATIENCE_S,
    PLAN,
    free_port,
    program,
    write_config,
)

pytestmark = [pytest.mark.ray, pytest.mark.long]

SUBMITTED = " in session "
ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A Ray of ours beside one that somebody else started."""
    settings = ClusterConfig(num_cpus=6, object_store_mib=100)
    with (
        foreign_ray() as other,
        start_local(settings, namespace="jobs", dashboard_port=free_port()) as started,
    ):
        assert started.address != other
        yield started


@dataclass(frozen=True)
class Job:
    client: JobSubmissionClient
    id: str
    goal: str
    """The path of its goal, which no other job has."""

    @property
    def log(self) -> str:
        return self.client.get_job_logs(self.id)

    def wait_for(self, words: str) -> None:
        self._wait(lambda: words in self.log)

    def end(self) -> tuple[str, str]:
        """The status and log at its end."""
        self._wait(lambda: self.client.get_job_status(self.id) in ENDED)
        info = self.client.get_job_info(self.id)
        return str(info.status), f"{self.log}\n{info.error_type}: {info.message}"

    def kill(self) -> None:
        """End its process at once, as a node that runs out of memory does."""
        for process in psutil.process_iter(["cmdline"]):
            if "serve_app.job" in (words := process.info["cmdline"] or []) and self.goal in words:
                process.kill()
        self.end()

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.2)


def start(cluster: LocalCluster, config: Path, *words: str, goal: str = GOAL) -> Job:
    id_ = f"test-{uuid.uuid4().hex[:8]}"
    file = config.parent / f"{id_}.md"
    file.write_text(goal)
    assert cluster.dashboard_url is not None
    client = JobSubmissionClient(cluster.dashboard_url)
    entry = (sys.executable, "-m", "serve_app.job", f"--file {file} --config {config}", *words)
    submitted(client, entrypoint=" ".join(entry), submission_id=id_)
    return Job(client, id_, str(file))


def submit(cluster: LocalCluster, config: Path, *words: str) -> tuple[str, str]:
    return start(cluster, config, *words).end()


def is_gone(config: Path, *, wait_s: float = PATIENCE_S) -> bool:
    """Whether no actor and no reservation of the deployment is left."""
    name = load_config(config).deployment
    namespace = namespace_of(name)
    # Ray ends a job's own actors a moment after the job.
    deadline = time.monotonic() + wait_s
    while (left := list_actors(namespace, "")) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not left and all(group.deployment != name for group in reservations())


def test_the_job_server_wants_a_token(cluster: LocalCluster) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert httpx.get(f"{cluster.dashboard_url}/api/jobs/").status_code in (401, 403)


def test_a_job_is_given_the_address_of_its_own_cluster(cluster: LocalCluster) -> None:
    assert cluster.dashboard_url is not None
    client = JobSubmissionClient(cluster.dashboard_url)
    submitted(client, entrypoint="echo address=$RAY_ADDRESS", submission_id="echo")
    _, log = Job(client, "echo", "").end()
    assert f"address={cluster.address}\n" in log


HELD = ("first", "second")
"""Goals that name one of these have a call that the server answers when the test says so."""


@contextlib.contextmanager
def holding_server() -> Iterator[tuple[str, dict[str, threading.Event]]]:
    """The URL of a model server, and the events for which it waits, by a word of the prompt."""
    released = {word: threading.Event() for word in HELD}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": "held"}]})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            (waits_for,) = (event for word, event in released.items() if f"({word})" in body)
            waits_for.wait(PATIENCE_S)
            choice = {"message": {"content": "# two\n\nSome words."}, "finish_reason": "stop"}
            self._send({"choices": [choice]})

        def _send(self, document: dict[str, Any]) -> None:
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", released
        finally:
            for event in released.values():
                event.set()
            server.shutdown()


def held_config(folder: Path, url: str) -> Path:
    """The usual one, with an alias at the server that holds its calls."""
    plans = [
        {
            "when": {"call": "plan-*", "contains": f"({word})"},
            "answer": json.dumps(PLAN)
            .replace("Write two.md.", f"Write two.md ({word}).")
            .replace('"id": "two", "alias": "naughty"', '"id": "two", "alias": "held"'),
        }
        for word in HELD
    ]
    path = write_config(folder, *plans)
    settings = yaml.safe_load(path.read_text())
    settings["pools"]["held"] = {"engine": "openai", "model": "held", "replicas": [{"url": url}]}
    settings["aliases"]["held"] = {"pool": "held", "mode": "output_file"}
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_deployment_lasts_until_its_last_user_leaves(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """This process uses it as `serve` does; jobs come and leave, and then it leaves itself."""
    namespace = namespace_of("scripted")
    user = User("serve", namespace)
    with holding_server() as (url, released):
        config = held_config(tmp_path, url)
        settings = load_config(config)
        orchestrator = ensure_deployment(settings, shared=True)
        try:
            wait_ready(orchestrator, timeout_s=PATIENCE_S)
            pid = ray.get(orchestrator.pid.remote())
            status, log = submit(cluster, config, "--json")
            assert status == "SUCCEEDED", log
            assert ray.get(orchestrator.pid.remote()) == pid
            reader = Reader.open(settings.store.url)
            assert [run.status for run in reader.list_runs()] == ["succeeded"]
            reader.close()
            status, log = submit(cluster, config, "--set", "api.port=1")
            assert status == "FAILED"
            assert "in use with another configuration" in log
            assert ray.get(orchestrator.pid.remote()) == pid

            first, second = (start(cluster, config, goal=f"{GOAL} ({word})") for word in HELD)
            first.wait_for(SUBMITTED)
            second.wait_for(SUBMITTED)
            ray.kill(ray.get_actor(user.name, namespace=namespace))
            released["first"].set()
            status, log = first.end()
            assert status == "SUCCEEDED", log
            assert "two.md is there" in log
            assert "succeeded after" in log
            assert "others use the deployment" in log
            assert ray.get(orchestrator.pid.remote()) == pid
            released["second"].set()
            status, log = second.end()
            assert status == "SUCCEEDED", log
            assert "others use the deployment" not in log
            assert is_gone(config)
        finally:
            take_down(settings.deployment)


def test_the_next_job_after_a_killed_one_ends_as_its_own_configuration_has_it(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """In its own, the run fails, so the job fails and says why."""
    config = write_config(tmp_path, *ENDLESS)
    killed = start(cluster, config, goal=ENDLESS_GOAL)
    killed.wait_for(SUBMITTED)
    killed.kill()
    changed = write_config(tmp_path, BROKEN)
    status, log = submit(cluster, changed)
    assert status == "FAILED", log
    assert "two failed, backend_refused" in log
    assert "What to do:" in log
    assert "which another program submitted, is open and goes on" in log
    assert is_gone(changed)


@pytest.mark.soak
def test_what_a_killed_job_left_ends_by_itself(cluster: LocalCluster, tmp_path: Path) -> None:
    config = write_config(tmp_path, *ENDLESS)
    killed = start(cluster, config, goal=ENDLESS_GOAL)
    killed.wait_for(SUBMITTED)
    killed.kill()
    deadline = time.monotonic() + UNUSED_S + 60
    while not is_gone(config, wait_s=0):
        time.sleep(1)
        assert time.monotonic() < deadline


def test_outside_of_a_cluster_it_says_how_it_is_meant(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with program(
        *("-m", "serve_app.job", "--goal", "x", "--config", str(config)), env={RAY_ADDRESS: ""}
    ) as job:
        assert job.end() == 4
    assert "ray job submit" in job.said
    assert familiar("ls", "--config", str(config)).code == 4
