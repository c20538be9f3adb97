"""`python -m serve_app.job` through the real job server, with token authentication on."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray
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
    GOAL,
    PATIENCE_S,
    PLAN,
    free_port,
    program,
    write_config,
)

pytestmark = [pytest.mark.ray, pytest.mark.alone]

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


def is_gone(config: Path) -> bool:
    """Whether no actor and no reservation of the deployment is left."""
    name = load_config(config).deployment
    namespace = namespace_of(name)
    # Ray ends a job's own actors a moment after the job.
    deadline = time.monotonic() + 10
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


def test_a_job_ends_as_its_run_ends_and_takes_its_deployment_down(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    config = write_config(tmp_path)
    status, log = submit(cluster, config)
    assert status == "SUCCEEDED", log
    assert "succeeded after" in log
    assert "two.md is there" in log
    assert is_gone(config)


def test_a_job_whose_run_fails_fails_and_says_why(cluster: LocalCluster, tmp_path: Path) -> None:
    status, log = submit(cluster, write_config(tmp_path, BROKEN))
    assert status == "FAILED", log
    assert "two failed, backend_refused" in log
    assert "What to do:" in log


@pytest.fixture
def user(cluster: LocalCluster) -> Iterator[User]:
    """Another user of the deployment: this process."""
    found = User("serve", namespace_of("scripted"))
    yield found
    ray.kill(ray.get_actor(found.name, namespace=namespace_of("scripted")))


@pytest.mark.usefixtures("user")
def test_a_job_uses_the_deployment_that_others_use_and_leaves_it(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    config = write_config(tmp_path)
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
    finally:
        take_down(settings.deployment)


LONG = f"{GOAL} Take your time."
SLOW_PLAN = json.dumps(PLAN).replace('"two"', '"slow"')
SLOW: tuple[dict[str, Any], ...] = (
    {"when": {"call": "plan-*", "contains": "Take your time"}, "answer": SLOW_PLAN},
    {"when": {"call": "slow"}, "rates": {"ttft_s": 20.0}},
)
"""The second call of `LONG` takes twenty seconds."""


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_of_two_jobs_the_last_to_leave_takes_the_deployment_down(
    cluster: LocalCluster, tmp_path: Path, first_ends_first: bool
) -> None:
    config = write_config(tmp_path, *SLOW)
    first = start(cluster, config, goal=LONG)
    first.wait_for(SUBMITTED)
    # The second one is still at work when the first has ended, or the other way round.
    second = start(cluster, config, goal=LONG if first_ends_first else GOAL)
    early, late = (first, second) if first_ends_first else (second, first)
    status, log = early.end()
    assert status == "SUCCEEDED", log
    assert "others use the deployment" in log
    status, log = late.end()
    assert status == "SUCCEEDED", log
    assert "others use the deployment" not in log
    assert is_gone(config)


def test_the_next_job_runs_on_its_own_configuration_after_one_was_killed(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    config = write_config(tmp_path, *SLOW)
    killed = start(cluster, config, goal=LONG)
    killed.wait_for(SUBMITTED)
    killed.kill()
    changed = write_config(tmp_path)
    status, log = submit(cluster, changed)
    assert status == "SUCCEEDED", log
    assert "which another program submitted, is open and goes on" in log
    assert is_gone(changed)


@pytest.mark.soak
def test_what_a_killed_job_left_ends_by_itself(cluster: LocalCluster, tmp_path: Path) -> None:
    config = write_config(tmp_path, *SLOW)
    killed = start(cluster, config, goal=LONG)
    killed.wait_for(SUBMITTED)
    killed.kill()
    deadline = time.monotonic() + UNUSED_S + 60
    while not is_gone(config):
        assert time.monotonic() < deadline


def test_outside_of_a_cluster_it_says_how_it_is_meant(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with program(
        *("-m", "serve_app.job", "--goal", "x", "--config", str(config)), env={RAY_ADDRESS: ""}
    ) as job:
        assert job.end() == 4
    assert "ray job submit" in job.said
    assert familiar("ls", "--config", str(config)).code == 4
