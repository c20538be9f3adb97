"""How the node of a local Ray differs from Ray's own, in ways that `ray.init` has no argument for.

Ray 2.60 starts a node for a machine with cores to spare. On two cores that are busy loading engines
it fails: the raylet aborts when its two agents, which first import half of Ray (about 3 s of CPU),
have not told it their ports within 15 s, and the caller gives up after 30 s. Inside `lean_node`

- the agents' ports are settled beforehand, so the raylet need not wait for them; they are below the
  range that the kernel hands out by itself, so nothing else gets them meanwhile;
- the autoscaler's monitor is not started (there is nothing to scale), nor the log monitor unless
  workers' output shall be printed, nor the API server unless there shall be a dashboard;
- the caller waits for as long as the raylet lives, up to `START_TIMEOUT_S`;
- Ray keeps 127.0.0.1 and does not put this host's network address in its place (`on_loopback`).

This reaches into private parts of Ray, which is why it is one file, Ray is pinned to one version,
and a test starts a node with its agents held still.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import random
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

START_TIMEOUT_S = 180.0
SYSTEM_SETTINGS: Mapping[str, int | bool] = {
    "agent_register_timeout_ms": 180_000,
    # Otherwise the first driver waits until a worker for each CPU has started.
    "prestart_worker_first_driver": False,
}
"""Belongs into `_system_config` of the same `ray.init`."""

PORTS = range(20_000, 32_000)
_AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)


@contextlib.contextmanager
def lean_node(*, log_monitor: bool, api_server: bool) -> Iterator[None]:
    """A node that `ray.init` starts inside this context is a lean one."""
    parameter = importlib.import_module("ray._private.parameter")
    services = importlib.import_module("ray._private.services")
    node = importlib.import_module("ray._private.node").Node
    usual_parameters, usual_get_node = parameter.RayParams, services.get_node
    usual_start_raylet = node.start_raylet

    def parameters(**chosen: object) -> object:
        ports = dict(zip(_AGENT_PORTS, free_ports(len(_AGENT_PORTS)), strict=True))
        lean = {**ports, "no_monitor": True, "include_log_monitor": log_monitor}
        return usual_parameters(**{**chosen, **lean})

    @functools.wraps(usual_get_node)
    def patient_get_node(gcs_address: str, node_id: str) -> object:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return usual_get_node(gcs_address, node_id)
            except RuntimeError:
                if time.monotonic() > deadline or not _raylet_lives():
                    raise
            time.sleep(0.05)

    @functools.wraps(usual_start_raylet)
    def start_raylet(self: Any, *arguments: object, **chosen: object) -> object:
        # The one port that the raylet does not take as an argument, only from this file.
        raylet = importlib.import_module("ray._raylet")
        port = self._ray_params.dashboard_agent_listen_port
        name = raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME
        raylet.persist_port(self.get_session_dir_path(), self.node_id, name, port)
        return usual_start_raylet(self, *arguments, **chosen)

    def no_api_server(*_: object, **__: object) -> tuple[str, None]:
        return "", None

    with (
        on_loopback(),
        contextlib.nullcontext()
        if api_server
        else _replaced(services, "start_api_server", no_api_server),
        _replaced(node, "start_raylet", start_raylet),
        _replaced(parameter, "RayParams", parameters),
        _replaced(services, "get_node", patient_get_node),
    ):
        yield


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """Let Ray use 127.0.0.1 as it is, to start a node or to connect to one.

    Children get the same from the environment (`LOOPBACK_SWITCH`); this process may have imported
    Ray long ago, and Ray reads the variable once, at its import.
    """
    constants = importlib.import_module("ray._private.ray_constants")
    with _replaced(constants, "ENABLE_RAY_CLUSTER", False):
        yield


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody listens on and that the kernel gives to nobody."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            break
    return found


def _raylet_lives() -> bool:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == "raylet" and child.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    usual = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, usual)
