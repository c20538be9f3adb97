"""Run by `ray start` before the node starts: three things for which the command has no option.

- No Ray client server, a process for `ray://` addresses that nothing here uses. (The port may not
  be 0, and without the option it is 10001.)
- No API server unless there shall be a dashboard; `--include-dashboard=false` starts it all the
  same, and waits for it.
- The raylet does not wait for its dashboard agent, which first imports half of Ray. The agent's
  port is in the command line already, but the raylet reads it from a file only; the file is
  written before the raylet starts.

The last two reach into private parts of Ray 2.60, in the process of `ray start` alone. Without them
20 of 20 starts succeeded with both cores busy, but took 6 to 15 s; on a machine with five times
more to do than it has cores they took 17 to 63 s (one beyond Ray's own limit of 30 s and run
again), and with them 9 to 12 s.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray._private.parameter import RayParams

PATH = "cluster.start_hook.lean"
"""Goes into RAY_START_HOOK."""


def lean(parameters: RayParams, head: bool) -> None:
    """Ray calls this with the parameters of the node that it is about to start."""
    parameters.ray_client_server_port = None
    if not parameters.include_dashboard:
        services = importlib.import_module("ray._private.services")
        setattr(services, "start_api_server", _no_api_server)  # noqa: B010
    node = importlib.import_module("ray._private.node").Node
    usual = node.start_raylet

    @functools.wraps(usual)
    def start_raylet(self: Any, *arguments: object, **chosen: object) -> object:
        raylet = importlib.import_module("ray._raylet")
        raylet.persist_port(
            self.get_session_dir_path(),
            self.node_id,
            raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME,
            self._ray_params.dashboard_agent_listen_port,
        )
        return usual(self, *arguments, **chosen)

    node.start_raylet = start_raylet


def _no_api_server(*_: object, **__: object) -> tuple[str, None]:
    return "", None
