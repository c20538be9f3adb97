"""TCP ports of this machine: free ones, the holder of one, and those open to other machines.

A server that fails to bind deep inside Ray Serve leaves a stack trace in a log file; asked for
beforehand, it is one sentence. The check binds and closes, so between it and the server's own bind
another process may still come first: it explains the usual case and guarantees nothing.

Everything that `start_local` starts listens on 127.0.0.1. Ray Serve does not: each of its replicas
listens on every interface for requests between deployments (`[::]:0` is fixed in Ray 2.60, with no
option or variable, and the server starts also when nothing uses it). Requests there need Ray's
token, so the token's file must be private (`cluster.token`).
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psutil

from cluster import guard
from familiar.errors import ClusterError

FIXED = range(20_000, 32_000)
"""Below the range from which the kernel picks ports by itself."""


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
            f"{purpose} cannot listen on {host}:{port}: ports below 1024 need privileges.",
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


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 without a listener that the kernel gives to no process by itself."""
    found: list[int] = []
    for port in random.sample(FIXED, len(FIXED)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            break
    return found


@dataclass(frozen=True, slots=True)
class ExposedPort:
    """A listening TCP socket that is not on loopback."""

    address: str
    port: int
    pid: int
    process: str

    def __str__(self) -> str:
        return f"{self.process} (process {self.pid}) listens on {self.address} port {self.port}"


def exposed_ports(directory: Path) -> tuple[ExposedPort, ...]:
    """The ports beyond loopback of the local Ray in `directory` (`LocalCluster.temp_dir`)."""
    found: list[ExposedPort] = []
    for pid in sorted(guard.holders(str(directory))):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            name = " ".join(process.cmdline()[:1]) or process.name()
            found += [
                ExposedPort(connection.laddr.ip, connection.laddr.port, pid, name)
                for connection in process.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN and not is_loopback(connection.laddr.ip)
            ]
    return tuple(found)


def local_rays() -> tuple[Path, ...]:
    """The directories of the local Rays of this user that run now."""
    found: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            found.add(process.environ().get(guard.MARKER, ""))
    return tuple(Path(directory) for directory in sorted(found - {""}))


def is_loopback(address: str) -> bool:
    """Also for an IPv4 address in IPv6 form."""
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback
