"""A second node of a private local Ray, on this machine, which can be lost for real."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import ray

from cluster.head_node import PATIENCE
from cluster.local import LocalCluster

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0

# `ray start` refuses to add a node to a Ray that keeps to the loopback interface.
NODE = """
import json, sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
from cluster.ports import free_ports
from cluster.start_hook import lean
ports = ("metrics_export_port", "metrics_agent_port", "dashboard_agent_listen_port",
         "runtime_env_agent_port")
chosen = RayParams(
    gcs_address=sys.argv[1], num_cpus=1, num_gpus=int(sys.argv[2]),
    object_store_memory=100_000_000, labels=json.loads(sys.argv[3]),
    include_log_monitor=False, **dict(zip(ports, free_ports(len(ports)))),
)
lean(chosen, False)
Node(
    chosen, head=False, shutdown_at_exit=True, spawn_reaper=True,
)
print("ready", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def second_node(
    cluster: LocalCluster, labels: Mapping[str, str], *, gpus: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """The process that keeps the node, with this many logical GPUs; to kill it is to lose the node.

    At the end the node is ended and Ray has noticed."""
    process = subprocess.Popen(
        [sys.executable, "-c", NODE, cluster.address, str(gpus), json.dumps(labels)],
        env={**os.environ, **PATIENCE, **cluster.environment()},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        deadline = time.monotonic() + PATIENCE_S
        while sum(row["Alive"] for row in ray.nodes()) > 1:
            assert time.monotonic() < deadline, "Ray does not notice the end of the node"
            time.sleep(0.2)
