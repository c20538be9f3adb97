"""Start a private Ray on this machine for one deployment, or connect to a Ray by its address.

Why not plain `ray.init()`: without an address it joins whatever Ray it finds on the host, and what
it starts listens on every interface. Here an address is always explicit, and a local Ray is
private: own short directory, loopback only, small object store, node death noticed in about 8 s.

How a local Ray ends: it belongs to the process that called `start_local`. `stop()` (also run at
exit, so after Ctrl-C and SIGTERM too) shuts Ray down, ends every process that is left and removes
the directory. If the owner is killed outright, `guard.py` ends the rest, and the directory with its
logs stays for a look. Ray ties its processes to the
*thread* that started them (PR_SET_PDEATHSIG), hence only the main thread may start one.

Tokens, as found in Ray 2.60: `ray.init(address="local")` turns token authentication on unless
RAY_AUTH_MODE says otherwise, creates `~/.ray/auth_token` when it is missing and sets
RAY_AUTH_MODE=token in this process, so children inherit it; dashboard, job server and GCS then want
the token. `ray start --head` turns it on only if a token file exists already, and never creates
one. Connecting by an explicit address never turns it on: the caller's environment must have
RAY_AUTH_MODE=token, which `LocalCluster.environment()` gives to child processes. A job driver gets
it from the job server. Serve's HTTP routes are not covered by the token.

Not done here: starting Serve, deciding on placement, touching any Ray that somebody else started.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import site
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster import guard
from cluster.lean_node import SYSTEM_SETTINGS, lean_node, on_loopback
from cluster.ports import check_port_free
from cluster.private_directory import make_directory
from familiar.config.schema import ClusterConfig
from familiar.errors import ClusterError

HEALTH_CHECK: Mapping[str, int] = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 2000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""Ray system settings: three checks missed in a row, 2 s apart with 2 s each to answer: ~8 s."""

_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Ray's switch for hosts without a cluster network; on Linux, too, it means: loopback only.
_LOOPBACK_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Seconds between two looks of Serve's controller, which else take 5 % of a small machine's core.
_SERVE_PAUSE = "RAY_SERVE_CONTROL_LOOP_INTERVAL_S"


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A running local Ray. Use as a context manager, or call `stop()`."""

    address: str
    temp_dir: Path
    namespace: str
    dashboard_url: str | None
    _guard: subprocess.Popen[bytes] = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Variables with which a child process finds this Ray, its job server and its token."""
        mode = os.environ.get("RAY_AUTH_MODE", "disabled")
        found = {"RAY_ADDRESS": self.address, "RAY_AUTH_MODE": mode, _LOOPBACK_SWITCH: "0"}
        if self.dashboard_url:
            found["RAY_API_SERVER_ADDRESS"] = self.dashboard_url
        return found

    def stop(self, *, keep_directory: bool = False) -> None:
        """Shut Ray down and leave no process and no directory. Safe to call again."""
        if self._guard.poll() is not None:
            return
        import ray

        ray.shutdown()
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
            shutil.rmtree(self.temp_dir, ignore_errors=True)

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_local(
    settings: ClusterConfig,
    *,
    namespace: str,
    dashboard_port: int | None = None,
    log_to_driver: bool = False,
    import_paths: Sequence[Path] = (),
    temp_root: Path = Path("/tmp"),
) -> LocalCluster:
    """Start Ray with what `settings` says and connect this process to it in `namespace`.

    `dashboard_port` starts the dashboard and the job server on 127.0.0.1 there. `import_paths` go
    in front of PYTHONPATH in every worker; the directory that holds this package is added by itself
    when the package is not installed. `log_to_driver` prints workers' output here; it is in
    `temp_dir/session_latest/logs` in any case. Raises ClusterError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ClusterError(
            "A local Ray can only be started by the main thread, because it ends with its thread.",
            remedy="Start it at the entry point and hand out the LocalCluster.",
        )
    if dashboard_port is not None:
        check_port_free("127.0.0.1", dashboard_port, purpose="Ray's dashboard")
    _refuse_second_ray()
    directory = make_directory(temp_root)
    watcher = _start_guard(directory)
    variables = {
        guard.MARKER: str(directory),
        "PYTHONPATH": _python_path(import_paths),
        _LOOPBACK_SWITCH: "0",
        _SERVE_PAUSE: os.environ.get(_SERVE_PAUSE, "0.5"),
    }
    try:
        with _environment(variables):
            address, dashboard_url = _init(
                settings, directory, namespace, dashboard_port, log_to_driver
            )
    except BaseException as error:
        kept = isinstance(error, Exception)
        LocalCluster("", directory, namespace, None, watcher).stop(keep_directory=kept)
        if isinstance(error, Exception):
            raise ClusterError(
                f"A local Ray did not start: {error} Its logs are in {directory}.",
                remedy="Is there memory, disk under /tmp and a free CPU? `familiar doctor` looks.",
            ) from error
        raise
    cluster = LocalCluster(address, directory, namespace, dashboard_url, watcher)
    atexit.register(cluster.stop)
    return cluster


def connect(address: str, *, namespace: str, log_to_driver: bool = False) -> None:
    """Connect to the Ray whose GCS is at `address`, host:port. Raises ClusterError."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ClusterError(
            f"{address!r} is not the address of a Ray cluster.",
            remedy="Give host:port of its GCS, e.g. 10.0.0.1:6379; it is never searched for.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except OSError as error:
        raise ClusterError(
            f"No Ray answers at {address}: {error.strerror or error}.",
            remedy="Check the address; without one a local Ray is started.",
        ) from error
    _refuse_second_ray()
    import ray
    from ray.exceptions import AuthenticationError

    try:
        with on_loopback() if host in _LOOPBACK_HOSTS else contextlib.nullcontext():
            ray.init(
                address=address,
                namespace=namespace,
                log_to_driver=log_to_driver,
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
            remedy="If it uses tokens, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH; if not, look whether its GCS is well.",
        ) from error


def _refuse_second_ray() -> None:
    import ray

    if ray.is_initialized():
        raise ClusterError(
            "This process is connected to a Ray already.",
            remedy="Stop that LocalCluster (or call ray.shutdown()) first.",
        )


def _start_guard(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(directory)],
        start_new_session=True,  # Ctrl-C in the terminal must not end it
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _init(
    settings: ClusterConfig,
    directory: Path,
    namespace: str,
    dashboard_port: int | None,
    log_to_driver: bool,
) -> tuple[str, str | None]:
    import ray

    with lean_node(log_monitor=log_to_driver, api_server=dashboard_port is not None):
        context = ray.init(
            address="local",
            namespace=namespace,
            num_cpus=settings.num_cpus,
            num_gpus=settings.logical_gpus or None,
            labels=dict(settings.labels) or None,
            object_store_memory=settings.object_store_mib * 1024 * 1024,
            include_dashboard=dashboard_port is not None,
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard_port,
            log_to_driver=log_to_driver,
            logging_level=logging.ERROR,
            _temp_dir=str(directory),
            _system_config={**HEALTH_CHECK, **SYSTEM_SETTINGS},
        )
    url = context.dashboard_url
    return ray.get_runtime_context().gcs_address, f"http://{url}" if url else None


def _python_path(import_paths: Sequence[Path]) -> str:
    here = Path(__file__).resolve().parent.parent
    installed = {Path(entry).resolve() for entry in site.getsitepackages()}
    paths = [str(path.resolve()) for path in import_paths]
    if here not in installed:
        paths.append(str(here))
    if before := os.environ.get("PYTHONPATH"):
        paths.append(before)
    return os.pathsep.join(paths)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Children started inside inherit `variables`; afterwards this process has its own again."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
