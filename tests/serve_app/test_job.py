"""`python -m serve_app.job` through the real job server, with token authentication on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import ray
from ray.job_submission import JobStatus, JobSubmissionClient

from actors.deploy import ensure_deployment, find_orchestrator, take_down, wait_ready
from actors.store.queries import Reader
from cluster.local import LocalCluster, start_local
from familiar.config.load import load_config
from familiar.config.schema import ClusterConfig
from serve_app.job import RAY_ADDRESS
from tests.serve_app.command import familiar
from tests.serve_app.scripted import BROKEN, GOAL, PATIENCE_S, free_port, program, write_config

pytestmark = [pytest.mark.ray, pytest.mark.alone]

ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    settings = ClusterConfig(num_cpus=6, object_store_mib=100)
    with start_local(settings, namespace="jobs", dashboard_port=free_port()) as started:
        yield started


def submit(cluster: LocalCluster, config: Path, *words: str) -> tuple[str, str]:
    """The job's status and log at its end."""
    goal = config.parent / "goal.md"
    goal.write_text(GOAL)
    assert cluster.dashboard_url is not None
    client = JobSubmissionClient(cluster.dashboard_url)
    job = client.submit_job(
        entrypoint=" ".join(
            (sys.executable, "-m", "serve_app.job", f"--file {goal} --config {config}", *words)
        )
    )
    deadline = time.monotonic() + PATIENCE_S
    while client.get_job_status(job) not in ENDED:
        assert time.monotonic() < deadline, client.get_job_logs(job)
        time.sleep(0.5)
    info = client.get_job_info(job)
    return str(info.status), f"{client.get_job_logs(job)}\n{info.error_type}: {info.message}"


def test_the_job_server_wants_a_token(cluster: LocalCluster) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert httpx.get(f"{cluster.dashboard_url}/api/jobs/").status_code in (401, 403)


def test_a_job_ends_as_its_run_ends_and_takes_its_deployment_down(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    config = write_config(tmp_path)
    status, log = submit(cluster, config)
    assert status == "SUCCEEDED", log
    assert "succeeded after" in log
    assert "two.md is there" in log
    assert find_orchestrator(load_config(config).deployment) is None


def test_a_job_whose_run_fails_fails_and_says_why(cluster: LocalCluster, tmp_path: Path) -> None:
    status, log = submit(cluster, write_config(tmp_path, BROKEN))
    assert status == "FAILED", log
    assert "two failed, backend_refused" in log
    assert "What to do:" in log


def test_a_job_uses_the_deployment_that_runs_and_leaves_it(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    config = write_config(tmp_path)
    settings = load_config(config)
    orchestrator = ensure_deployment(settings)
    try:
        wait_ready(orchestrator, timeout_s=PATIENCE_S)
        pid = ray.get(orchestrator.pid.remote())
        status, log = submit(cluster, config, "--json")
        assert status == "SUCCEEDED", log
        assert ray.get(orchestrator.pid.remote()) == pid
        reader = Reader.open(settings.store.url)
        assert [run.status for run in reader.list_runs()] == ["succeeded"]
        reader.close()
    finally:
        take_down(settings)


def test_outside_of_a_cluster_it_says_how_it_is_meant(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with program(
        *("-m", "serve_app.job", "--goal", "x", "--config", str(config)), env={RAY_ADDRESS: ""}
    ) as job:
        assert job.end() == 4
    assert "ray job submit" in job.said
    assert familiar("ls", "--config", str(config)).code == 4
