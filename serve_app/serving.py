"""Start Serve's HTTP proxy where the configuration says, and say so plainly when that cannot be.

Serve fixes its address when it starts in a cluster and ignores any other one later, with a line in
a log. Here the port is checked before, and that the address is really listened on after.
"""

from __future__ import annotations

import logging
import socket

from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions, ProxyLocation

from cluster.ports import check_port_free
from familiar.config.schema import Config
from familiar.errors import ClusterError

APPLICATION = "familiar"
_CONNECT_S = 5.0


def start_http(config: Config) -> None:
    """Start Serve in the cluster that this process is connected to, or keep it where it runs.

    Raises `ClusterError` when the port is taken, or when Serve runs there with another address.
    """
    host, port = config.api.host, config.api.port
    if not serve.status().proxies:
        check_port_free(host, port, purpose="The API")
    try:
        serve.start(
            proxy_location=ProxyLocation.HeadOnly, http_options=HTTPOptions(host=host, port=port)
        )
    except RayError as error:
        raise ClusterError(
            f"Ray Serve did not start: {type(error).__name__} in its HTTP proxy.",
            remedy="The machine may have been too busy: start again; Serve's logs have the rest.",
        ) from error
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ClusterError(
            f"Serve runs in this cluster and does not listen on {host}:{port} ({error}).",
            remedy="Use the address that it was started with, or shut Serve down first.",
        ) from None


def deploy(config: Config, *, shared: bool) -> None:
    """Deploy the API into the cluster that this process is connected to and wait until it runs.
    `shared` as in `actors.deploy`."""
    from serve_app.app import application

    # What Serve tells stands in the phases of a start already.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    start_http(config)
    serve.run(application(config, shared=shared), name=APPLICATION, route_prefix="/")


def is_deployed() -> bool:
    """Whether the API is there; False, and Serve is not started, where Serve does not run."""
    return APPLICATION in serve.status().applications


def undeploy() -> bool:
    """Delete the API; False if there is none."""
    if found := is_deployed():
        serve.delete(APPLICATION)
    return found
