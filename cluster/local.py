"""Start a private Ray on this machine for one deployment, or connect to a Ray by its address.

Why not plain `ray.init()`: without an address it joins any Ray that it finds on the host, and a Ray
that it starts listens on every interface. Here an address is always explicit, and a local Ray is
private: own short directory, loopback only (except for Ray Serve, see `ports`), small object
store, node death noticed in about 8 s.

How a local Ray ends: it belongs to the process that called `start_local`. `stop()` (also run at
exit, so after Ctrl-C and SIGTERM too) shuts Ray down, ends every process that is left and removes
the directory. If the owner is killed outright, `guard.py` ends the rest, and the directory with its
logs stays for a look.

Tokens, as found in Ray 2.60: `ray start --head` turns token authentication on only if a token file
exists, and never makes one; so `cluster.token` makes it, and RAY_AUTH_MODE=token is set in this
process unless it says otherwise, for children to inherit. Dashboard, job server and GCS then want
the token. Connecting by an explicit address never turns it on: the caller's environment must have
RAY_AUTH_MODE=token, which `LocalCluster.environment()` gives to child processes. A job driver gets
it from the job server. Serve's HTTP routes are not covered by the token.

Not done here: starting Serve, deciding on placement, touching any Ray that somebody else started.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import site
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster import guard
from cluster.head_node import inherited, start_head
from cluster.key_files import KEYS, write_keys
from cluster.ports import check_port_free
from cluster.private_directory import make_directory, remove_directory
from cluster.token import AUTH_MODE, reread_mode, want_token
from familiar.config.schema import ClusterConfig
from familiar.errors import ClusterError
from familiar.secret import Secret

_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Ray's switch for hosts without a cluster network; on Linux, too, it means: loopback only.
_LOOPBACK_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
END_S = 10.0
"""How long `ray start` may take to end its processes."""
_SERVE = {
    # Seconds between two looks of the controller, which else take 5 % of a small machine's core.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    # Its proxy imports for seconds; one that is not ready after 5 s is else ended, and begun again.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # A line for each request, in proxy and replica: to the file only, some lines at a time. Errors
    # are written at once.
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "100",
}
"""Settings of Serve that hold unless the environment has others."""


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A running local Ray. Use as a context manager, or call `stop()`."""

    address: str
    temp_dir: Path
    namespace: str
    dashboard_url: str | None
    _guard: subprocess.Popen[bytes] = field(repr=False)
    _head: subprocess.Popen[bytes] | None = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Variables with which a child process finds this Ray, its job server and its token."""
        mode = os.environ.get(AUTH_MODE, "disabled")
        found = {"RAY_ADDRESS": self.address, AUTH_MODE: mode, _LOOPBACK_SWITCH: "0"}
        if self.dashboard_url:
            found["RAY_API_SERVER_ADDRESS"] = self.dashboard_url
        return found

    def stop(self, *, keep_directory: bool = False) -> None:
        """Shut Ray down and leave no process and no directory. Safe to call again."""
        if self._guard.poll() is not None:
            return
        import ray

        ray.shutdown()
        if self._head is not None:
            _end_head(self._head)
        left = guard.end_holders(
            str(self.temp_dir), spare=frozenset({os.getpid(), self._guard.pid})
        )
        self._guard.terminate()
        self._guard.wait()
        atexit.unregister(self.stop)
        if left:
            raise ClusterError(
                f"Processes {sorted(left)} of the local Ray in {self.temp_dir} do not end.",
                remedy="They ignore SIGKILL, so they wait for a device or a disk; look there.",
            )
        if not keep_directory:
            remove_directory(self.temp_dir)

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_local(
    settings: ClusterConfig,
    *,
    namespace: str,
    dashboard_port: int | None = None,
    hidden: Collection[str] = (),
    keys: Mapping[str, Secret] | None = None,
    temp_root: Path = Path("/tmp"),
) -> LocalCluster:
    """Start Ray as `settings` describes it and connect this process to it in `namespace`.

    `dashboard_port` starts the dashboard and the job server on 127.0.0.1 there. Variables in
    `hidden` are in the environment of no process that is started here; `keys` are put into private
    files for the replicas (`key_files`). The output of workers is in
    `temp_dir/session_latest/logs`. Raises ClusterError.
    """
    if dashboard_port is not None:
        check_port_free("127.0.0.1", dashboard_port, purpose="Ray's dashboard")
    _reject_second_ray()
    want_token()
    directory = make_directory(temp_root)
    watcher = _start_guard(directory, hidden)
    variables = {
        guard.MARKER: str(directory),
        KEYS: str(write_keys(Path(guard.keys_beside(str(directory))), keys or {})),
        "PYTHONPATH": _python_path(),
        _LOOPBACK_SWITCH: "0",
        **{name: os.environ.get(name, usual) for name, usual in _SERVE.items()},
    }
    head: subprocess.Popen[bytes] | None = None
    try:
        head, address = start_head(
            settings,
            directory,
            dashboard_port=dashboard_port,
            environment=variables,
            hidden=hidden,
            spare=frozenset({os.getpid(), watcher.pid}),
        )
        reread_mode()
        connect(address, namespace=namespace)
    except BaseException as error:
        kept = isinstance(error, Exception)
        LocalCluster("", directory, namespace, None, watcher, head).stop(keep_directory=kept)
        if isinstance(error, Exception):
            raise ClusterError(
                f"A local Ray did not start: {error} Its logs are in {directory}.",
                remedy="Check memory, disk space under /tmp and CPU load; `familiar doctor` helps.",
            ) from error
        raise
    dashboard_url = None if dashboard_port is None else f"http://127.0.0.1:{dashboard_port}"
    cluster = LocalCluster(address, directory, namespace, dashboard_url, watcher, head)
    atexit.register(cluster.stop)
    return cluster


def connect(address: str, *, namespace: str) -> None:
    """Connect to the Ray whose GCS is at `address`, host:port. Raises ClusterError."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ClusterError(
            f"{address!r} is not the address of a Ray cluster.",
            remedy="Give HOST:PORT of its GCS, e.g. 10.0.0.1:6379; familiar never searches for it.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except OSError as error:
        raise ClusterError(
            f"No Ray answers at {address}: {error.strerror or error}.",
            remedy="Check the address; without one a local Ray is started.",
        ) from error
    _reject_second_ray()
    import ray
    from ray.exceptions import AuthenticationError

    try:
        with _on_loopback() if host in _LOOPBACK_HOSTS else contextlib.nullcontext():
            ray.init(
                address=address,
                namespace=namespace,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except AuthenticationError as error:
        raise ClusterError(
            f"The Ray at {address} wants a token.",
            remedy="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.",
        ) from error
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(
            f"Connecting to the Ray at {address} failed: {error}.",
            remedy=_remedy(str(error)),
        ) from error


def _remedy(told: str) -> str:
    """What to do when Ray rejects a connection with the message `told`."""
    if "version mismatch" in told.lower():
        return "Use the same versions of Ray and Python here as in the cluster."
    return (
        "If it uses tokens, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; "
        "if not, check its GCS."
    )


def _reject_second_ray() -> None:
    ray = sys.modules.get("ray")  # to import it takes seconds
    if ray is not None and ray.is_initialized():
        raise ClusterError(
            "This process is connected to a Ray already.",
            remedy="Stop that LocalCluster (or call ray.shutdown()) first.",
        )


def _start_guard(directory: Path, hidden: Collection[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(directory)],
        env=inherited(hidden),
        start_new_session=True,  # Ctrl-C in the terminal must not end it
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _end_head(head: subprocess.Popen[bytes]) -> None:
    """Let `ray start` end its processes in its own order, for a while."""
    head.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        head.wait(END_S)
        return
    head.kill()
    head.wait()


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let this process keep 127.0.0.1 as the address of a Ray that it connects to.

    Ray would put the host's network address in its place, unless `_LOOPBACK_SWITCH` stood in the
    environment when Ray was imported; this process may have imported it long ago. It is the
    one private name of Ray that is set here.
    """
    constants = importlib.import_module("ray._private.ray_constants")
    name = "ENABLE_RAY_CLUSTER"
    usual = getattr(constants, name)
    setattr(constants, name, False)
    try:
        yield
    finally:
        setattr(constants, name, usual)


def _python_path() -> str:
    """For the workers: this package where it is not installed, then what was there."""
    here = Path(__file__).resolve().parent.parent
    installed = {Path(entry).resolve() for entry in site.getsitepackages()}
    paths = [] if here in installed else [str(here)]
    if before := os.environ.get("PYTHONPATH"):
        paths.append(before)
    return os.pathsep.join(paths)
