"""Jobs on a Ray of ours, while a Ray that somebody else started runs on the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ray.job_submission import JobSubmissionClient

from cluster.head_node import PATIENCE

PATIENCE_S = 120.0
CURRENT = Path("/tmp/ray/ray_current_cluster")
"""Where a bare `ray.init()` and Ray's job server look for a cluster."""


@contextlib.contextmanager
def foreign_ray() -> Iterator[str]:
    """A Ray as a person starts it, where other programs find it; its address."""
    known = CURRENT.read_text() if CURRENT.exists() else ""
    sizes = ("--port=0", "--num-cpus=1", "--object-store-memory=100000000")
    options = ("--include-dashboard=false", "--no-monitor", "--disable-usage-stats", *sizes)
    process = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options],
        env={**os.environ, **PATIENCE, "RAY_AUTH_MODE": "disabled"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not CURRENT.exists() or (found := CURRENT.read_text().strip()) in ("", known.strip()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait()


def submitted(client: JobSubmissionClient, *, entrypoint: str, submission_id: str) -> None:
    """The server answers before the agent that starts jobs is up: repeat it for a while."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            client.submit_job(entrypoint=entrypoint, submission_id=submission_id)
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return
