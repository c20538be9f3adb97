"""Ports of a local Ray that are open to other machines.

Everything that `start_local` starts listens on 127.0.0.1. Ray Serve does not: each of its replicas
listens on every interface for requests between deployments (`[::]:0` is fixed in Ray 2.60, with no
option or variable, and the server starts also when nothing uses it). Requests there need Ray's
token, so the token's file must be private (`cluster.token`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psutil

from cluster import guard


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
