"""The head node of a local Ray: `ray start --head --block`, as a child process.

What the command is told, and why:

- ports of the agents, so that the raylet need not wait until the agents have found theirs; they are
  below the range from which the kernel picks ports by itself, so nothing else gets them meanwhile;
- no autoscaler monitor (there is nothing to scale) and no log monitor: logs are read as files;
- 127.0.0.1 as the node's address, and a temporary directory of its own. Ray writes the address into
  that directory and not into /tmp/ray, where a bare `ray.init()` would find it; Ray's job server,
  which looks for "auto" there, finds its own cluster.

`start_hook`, which the command calls through the variable RAY_START_HOOK, does the little for which
there is no option.

The child has a session of its own: Ctrl-C in the terminal is for the owner, which ends Ray after
its own work. Ray's processes die with the child, and `guard.py` ends the child with its owner.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from cluster import guard, start_hook
from cluster.ports import free_ports
from familiar.config.schema import ClusterConfig
from familiar.errors import ClusterError

START_TIMEOUT_S = 180.0
RAY_GIVES_UP_S = 60
"""Seconds that `ray start` waits for its raylet (else 30). On a machine that is busy for longer
the command fails and is run again."""

PATIENCE: Mapping[str, str] = {"RAY_raylet_start_wait_time_s": str(RAY_GIVES_UP_S)}
"""Belongs into the environment of a process that starts a node."""

HEALTH_CHECK: Mapping[str, int] = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 2000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""Ray system settings: three checks missed in a row, 2 s apart with 2 s each to answer: ~8 s."""

SYSTEM_SETTINGS: Mapping[str, int | bool] = {
    **HEALTH_CHECK,
    # The agents import half of Ray first, about 3 s of CPU; the raylet aborts after 15 s otherwise.
    "agent_register_timeout_ms": 180_000,
    # Otherwise the first driver waits until a worker for each CPU has started.
    "prestart_worker_first_driver": False,
}

_AGENT_PORTS = (
    "--metrics-export-port",
    "--dashboard-agent-grpc-port",
    "--dashboard-agent-listen-port",
    "--runtime-env-agent-port",
)
_ADDRESS_FILE = "ray_current_cluster"
_OUTPUT_FILE = "ray-start.log"
_PAUSE_S = 0.02


def start_head(
    settings: ClusterConfig,
    directory: Path,
    *,
    dashboard_port: int | None,
    environment: Mapping[str, str],
    hidden: Collection[str] = (),
    spare: frozenset[int],
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the node in `directory`; return its process and the address of its GCS.

    `environment` is added to this process's own, of which the variables in `hidden` are left out.
    Between two attempts every holder of the directory is ended, except `spare`. Raises
    ClusterError with the last lines that the command wrote.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        started = time.monotonic()
        process = _start(
            _command(settings, directory, dashboard_port),
            directory,
            {**inherited(hidden), **PATIENCE, **environment},
        )
        try:
            importlib.import_module("ray")  # for the caller, while the node starts
            address = _wait_for_address(process, directory, deadline)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if address is not None:
            return process, address
        took = time.monotonic() - started
        if took < RAY_GIVES_UP_S or time.monotonic() > deadline:
            raise ClusterError(f"`ray start` failed after {took:.0f} s: {_last_lines(directory)}")
        guard.end_holders(str(directory), spare=spare)


def inherited(hidden: Collection[str]) -> dict[str, str]:
    """This process's environment for a child, without the variables in `hidden`."""
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _start(
    command: list[str], directory: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with (directory / _OUTPUT_FILE).open("ab") as output:
        return subprocess.Popen(
            command,
            env={**environment, "RAY_START_HOOK": start_hook.PATH},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _command(settings: ClusterConfig, directory: Path, dashboard_port: int | None) -> list[str]:
    ports = zip(_AGENT_PORTS, free_ports(len(_AGENT_PORTS)), strict=True)
    options = {
        "--port": "0",
        "--node-ip-address": "127.0.0.1",
        "--temp-dir": str(directory),
        "--object-store-memory": str(settings.object_store_mib * 1024 * 1024),
        "--include-log-monitor": "false",
        "--include-dashboard": str(dashboard_port is not None).lower(),
        "--dashboard-host": "127.0.0.1",
        "--system-config": json.dumps(SYSTEM_SETTINGS),
        **{name: str(port) for name, port in ports},
    }
    if dashboard_port is not None:
        options["--dashboard-port"] = str(dashboard_port)
    if settings.num_cpus is not None:
        options["--num-cpus"] = str(settings.num_cpus)
    if settings.logical_gpus:
        options["--num-gpus"] = str(settings.logical_gpus)
    if settings.labels:
        options["--labels"] = ",".join(f"{key}={value}" for key, value in settings.labels.items())
    flags = [f"{name}={value}" for name, value in options.items()]
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    return [*start, "--no-monitor", "--disable-usage-stats", *flags]


def _wait_for_address(
    process: subprocess.Popen[bytes], directory: Path, deadline: float
) -> str | None:
    """The address that the command wrote, or None when it ended or time is up."""
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            address = (directory / _ADDRESS_FILE).read_text().strip()
            if address.rpartition(":")[2].isdigit():
                return address
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
        time.sleep(_PAUSE_S)
    return None


def _last_lines(directory: Path) -> str:
    with contextlib.suppress(OSError):
        lines = (directory / _OUTPUT_FILE).read_text(errors="replace").splitlines()
        return " ".join(line.strip() for line in lines[-3:])
    return "it wrote nothing"
