"""Check that a TCP port is free, and name the process that has it when it is not.

A server that fails to bind deep inside Ray Serve leaves a stack trace in a log file; asked for
beforehand, it is one sentence. The check binds and closes, so between it and the server's own bind
another process may still come first: it explains the usual case and guarantees nothing.
"""

from __future__ import annotations

import errno
import socket

import psutil

from familiar.errors import ClusterError


def check_port_free(host: str, port: int, *, purpose: str) -> None:
    """Raise ClusterError unless `host:port` can be bound now; `purpose` names the wish."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ClusterError(
            f"{purpose} cannot listen on {host}:{port}: the host name does not resolve ({error}).",
            remedy="Use an address of this machine, e.g. 127.0.0.1.",
        ) from error
    family, kind, protocol, _, address = infos[0]
    with socket.socket(family, kind, protocol) as probe:
        # Connections in TIME_WAIT are no obstacle; a listening socket still is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            raise _taken(host, port, purpose, error) from error


def _taken(host: str, port: int, purpose: str, error: OSError) -> ClusterError:
    if error.errno == errno.EADDRINUSE:
        return ClusterError(
            f"{purpose} cannot listen on {host}:{port}: the port is taken by {_listener(port)}.",
            remedy="Stop that process, or choose another port.",
        )
    if error.errno == errno.EACCES:
        return ClusterError(
            f"{purpose} may not listen on {host}:{port}: ports below 1024 need privileges.",
            remedy="Choose a port above 1023.",
        )
    return ClusterError(
        f"{purpose} cannot listen on {host}:{port}: {error.strerror}.",
        remedy="Use an address of this machine, e.g. 127.0.0.1.",
    )


def _listener(port: int) -> str:
    """The process that listens on `port`, as well as this user may see it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        connections = []
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or connection.laddr[1:] != (port,):
            continue
        if connection.pid is None:
            break
        try:
            command = " ".join(psutil.Process(connection.pid).cmdline())
        except psutil.Error:
            command = ""
        return f"process {connection.pid}" + (f" ({command[:120]})" if command else "")
    return "a process that this user cannot see"
