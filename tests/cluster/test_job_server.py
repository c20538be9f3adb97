"""A job of ours runs on our Ray, also while another cluster runs on the machine."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster import guard
from cluster.head_node import start_head
from cluster.local import LocalCluster, start_local
from familiar.config.schema import ClusterConfig

pytestmark = [pytest.mark.ray, pytest.mark.alone]

SETTINGS = ClusterConfig(num_cpus=2, object_store_mib=100)
PATIENCE_S = 120.0
ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[LocalCluster, str]]:
    """Ours, and the address of another one that `ray start` started before it."""
    with tempfile.TemporaryDirectory(prefix="fo-", dir="/tmp", ignore_cleanup_errors=True) as name:
        other, address = start_head(
            SETTINGS,
            Path(name),
            dashboard_port=None,
            log_monitor=False,
            environment={guard.MARKER: name, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
            spare=frozenset({os.getpid()}),
        )
        try:
            with start_local(SETTINGS, namespace="jobs", dashboard_port=free_port()) as ours:
                yield ours, address
        finally:
            other.terminate()
            guard.end_holders(name, spare=frozenset({os.getpid()}))
            other.wait()


def test_a_job_is_given_the_address_of_its_own_cluster(
    clusters: tuple[LocalCluster, str],
) -> None:
    ours, other = clusters
    assert ours.address != other
    assert ours.dashboard_url is not None
    client = JobSubmissionClient(ours.dashboard_url)
    job = client.submit_job(entrypoint="echo address=$RAY_ADDRESS")
    deadline = time.monotonic() + PATIENCE_S
    while client.get_job_status(job) not in ENDED:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert f"address={ours.address}\n" in client.get_job_logs(job)
