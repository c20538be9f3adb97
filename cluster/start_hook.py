"""Run by `ray start` before the node starts: no Ray client server.

The server for `ray://` addresses is a process of its own that nothing here uses. The command has no
option for none: the port may not be 0, and without the option it is 10001.
"""

from __future__ import annotations

from typing import Protocol

PATH = "cluster.start_hook.without_client_server"
"""Goes into RAY_START_HOOK."""


class StartParameters(Protocol):
    ray_client_server_port: int | None


def without_client_server(parameters: StartParameters, head: bool) -> None:
    """Ray calls this with the parameters of the node that it is about to start."""
    parameters.ray_client_server_port = None
