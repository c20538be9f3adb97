"""A local Ray is private, and goes with its owner however the owner goes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import ray

from cluster import guard
from cluster.local import LocalCluster, _remedy, connect, start_local
from cluster.ports import exposed_ports
from cluster.private_directory import KEPT_DIRECTORIES, make_directory, remove_directory
from familiar.config.schema import ClusterConfig
from familiar.errors import ClusterError

# The engine's child leaves its process group and session, as a careless server might.
OWNER = """
import subprocess, sys, time
from pathlib import Path
from cluster.local import start_local
from familiar.config.schema import ClusterConfig

settings = ClusterConfig(num_cpus=1, logical_gpus=1, object_store_mib=100)
cluster = start_local(settings, namespace="tests", temp_root=Path(sys.argv[1]))
import ray

class Engine:
    def start(self):
        subprocess.Popen(["sleep", "1000"], start_new_session=True)

engine = ray.remote(num_cpus=0)(Engine).remote()
ray.get(engine.start.remote())
print("ready", flush=True)
time.sleep(1000)
"""

STUBBORN = "import signal as s, time; s.signal(15, s.SIG_IGN); print(flush=True); time.sleep(99)"


PATIENCE_S = 60.0


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def owner(root: Path, repository: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(root)], stdout=subprocess.PIPE, text=True, cwd=repository
    )


def belonging_to(root: Path) -> set[int]:
    """Every process of a local Ray in `root`, its guard included."""
    found = {pid for directory in root.glob("*/ray") for pid in guard.holders(str(directory))}
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if guard.__file__ in command and str(root) in command[-1]:
            found.add(process.pid)
    return found


def wait_for_agents(owner_pid: int) -> Iterator[psutil.Process]:
    """The raylet's two agents, each as soon as it is there."""
    seen: set[int] = set()
    deadline = time.monotonic() + 60
    while len(seen) < 2 and time.monotonic() < deadline:
        for process in psutil.Process(owner_pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                script = " ".join(process.cmdline()[1:4])
                if (
                    process.pid not in seen
                    and script
                    and ("dashboard/agent.py" in script or "runtime_env/agent/main.py" in script)
                ):
                    seen.add(process.pid)
                    yield process
        time.sleep(0.01)


def alive(pids: set[int]) -> Iterator[psutil.Process]:
    """Those that have not ended meanwhile."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.name()
            yield process


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: pytest's own is too long for a socket."""
    path = Path(f"/tmp/ft-{os.getpid()}")
    path.mkdir()
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_owner(
    number: signal.Signals, root: Path, repository: Path
) -> None:
    process = owner(root, repository)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (directory,) = root.glob("*/ray")
    assert {"raylet", "gcs_server", "sleep"} <= {
        process.name() for process in alive(guard.holders(str(directory)))
    }
    process.send_signal(number)
    process.wait(PATIENCE_S)
    wait_until(lambda: not belonging_to(root))
    if number == signal.SIGKILL:
        assert list(directory.glob("session_*/logs/raylet.out"))
    else:
        wait_until(lambda: not list(root.iterdir()))


@pytest.mark.ray
def test_ctrl_c_while_ray_starts_leaves_nothing(root: Path, repository: Path) -> None:
    process = owner(root, repository)
    wait_until(lambda: any(root.glob("*/ray/session_*/sockets")))
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE_S)
    wait_until(lambda: not belonging_to(root))
    assert list(root.iterdir()) == []


@pytest.mark.ray
def test_a_node_comes_up_while_its_agents_are_held_still(root: Path, repository: Path) -> None:
    process = owner(root, repository)
    assert process.stdout is not None
    held: list[psutil.Process] = []
    for agent in wait_for_agents(process.pid):
        agent.suspend()
        held.append(agent)
    try:
        assert len(held) == 2
        assert process.stdout.readline() == "ready\n"
        assert {agent.status() for agent in held} == {psutil.STATUS_STOPPED}
    finally:
        for agent in held:
            agent.resume()
        process.terminate()
        process.wait(PATIENCE_S)
    wait_until(lambda: not belonging_to(root))


@pytest.mark.ray
def test_a_local_ray_keeps_to_loopback_and_wants_a_token(shared_ray: LocalCluster) -> None:
    ours = {process.pid for process in alive(guard.holders(str(shared_ray.temp_dir)))}
    listening = {
        connection.laddr[0].removeprefix("::ffff:")
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid in {*ours, os.getpid()}
    }
    assert listening == {"127.0.0.1"}
    assert exposed_ports(shared_ray.temp_dir) == ()
    assert shared_ray.environment()["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ("Version mismatch: The cluster was started with: Ray: 2.59.0", "same versions of Ray"),
        ("Failed to connect to Ray cluster at 10.0.0.1:6379", "RAY_AUTH_TOKEN"),
    ],
)
def test_the_remedy_fits_the_reason(told: str, advice: str) -> None:
    assert advice in _remedy(told)


@pytest.mark.ray
def test_the_one_port_of_ray_serve_beyond_loopback_is_told(shared_ray: LocalCluster) -> None:
    from ray import serve

    @serve.deployment
    class Echo:
        def __call__(self) -> str:
            return "here"

    serve.start(proxy_location="Disabled")
    handle = serve.run(Echo.bind(), name="echo", route_prefix=None)
    try:
        assert handle.remote().result(timeout_s=PATIENCE_S) == "here"
        assert {port.process for port in exposed_ports(shared_ray.temp_dir)} == {
            "ray::ServeReplica:echo:Echo"
        }
    finally:
        serve.shutdown()


@pytest.mark.ray
def test_a_port_beyond_loopback_is_told(shared_ray: LocalCluster) -> None:
    listen = (
        "import socket, time; s = socket.create_server(('', 0)); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", listen],
        env={guard.MARKER: str(shared_ray.temp_dir)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        (told,) = exposed_ports(shared_ray.temp_dir)
        assert (told.pid, told.address) == (process.pid, "0.0.0.0")
    finally:
        process.kill()
        process.wait()


@pytest.mark.ray
def test_a_bare_init_of_another_program_does_not_find_it(shared_ray: LocalCluster) -> None:
    """Ray's own search, without starting a node."""
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ray._private.services as s; print(s.canonicalize_bootstrap_address(None))",
        ],
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() != shared_ray.address
    assert "RAY_ADDRESS" not in os.environ


@pytest.mark.ray
def test_a_job_server_that_searches_finds_its_own_ray(shared_ray: LocalCluster) -> None:
    assert (shared_ray.temp_dir / "ray_current_cluster").read_text() == shared_ray.address


@pytest.mark.ray
def test_no_other_user_can_reach_its_directory_or_its_token(shared_ray: LocalCluster) -> None:
    assert shared_ray.temp_dir.parent.stat().st_mode & 0o777 == 0o700
    token = Path.home() / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.ray
def test_workers_import_the_project_and_know_the_settings(shared_ray: LocalCluster) -> None:
    @ray.remote(num_cpus=0)
    def imported() -> str:
        import cluster.placement

        return cluster.placement.__name__

    assert ray.get(imported.remote()) == "cluster.placement"
    assert ray.cluster_resources()["GPU"] == 4
    assert ray.get_runtime_context().namespace == "tests"
    assert guard.MARKER not in os.environ


@pytest.mark.ray
def test_a_second_ray_in_one_process_is_rejected(shared_ray: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="connected to a Ray already"):
        start_local(ClusterConfig(), namespace="tests")
    with pytest.raises(ClusterError, match="connected to a Ray already"):
        connect(shared_ray.address, namespace="tests")
    assert ray.is_initialized()


def test_a_taken_dashboard_port_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(ClusterError, match=f"Ray's dashboard cannot listen on .*:{port}"):
            start_local(ClusterConfig(), namespace="tests", dashboard_port=port)


@pytest.mark.parametrize("address", ["", "auto", "local", "ray://10.0.0.1:10001", "10.0.0.1"])
def test_an_address_is_explicit_or_rejected(address: str) -> None:
    with pytest.raises(ClusterError, match="HOST:PORT"):
        connect(address, namespace="tests")


def test_nobody_at_an_address_is_an_error_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"No Ray answers at {address}"):
            connect(address, namespace="tests")


def test_a_path_too_long_for_sockets_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="too long"):
        make_directory(tmp_path / ("x" * 60))


def test_a_directory_goes_although_a_process_still_writes_there(root: Path) -> None:
    made = make_directory(root)
    written = threading.Event()

    def write() -> None:
        until = time.monotonic() + 0.5
        with contextlib.suppress(FileNotFoundError):
            while time.monotonic() < until:
                (made / f"log{time.monotonic_ns()}").touch()
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    written.wait()
    remove_directory(made)
    assert list(root.iterdir()) == []
    writer.join()


def test_directories_of_dead_owners_are_swept_except_the_newest(root: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine = make_directory(root)
    left = []
    for age in range(KEPT_DIRECTORIES + 2):
        directory = root / f"fam-dead{age}"
        directory.mkdir()
        (directory / "owner").write_text(f"{dead.pid} 1\n")
        os.utime(directory, (1e9 - age, 1e9 - age))
        left.append(directory)
    foreign = root / "fam-not-marked"
    foreign.mkdir()
    second = make_directory(root)
    assert set(root.iterdir()) == {mine.parent, second.parent, foreign, *left[:KEPT_DIRECTORIES]}


def test_the_guard_ends_writers_and_heirs_and_spares_readers(root: Path) -> None:
    log = root / "log"
    log.touch()
    heir = subprocess.Popen(["sleep", "100"], env={guard.MARKER: str(root)})
    with log.open("a") as stream:
        writer = subprocess.Popen(["sleep", "100"], stdout=stream)
    reader = subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.DEVNULL)
    stubborn = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], env={guard.MARKER: str(root)}, stdout=subprocess.PIPE
    )
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    assert guard.holders(str(root)) == {heir.pid, writer.pid, stubborn.pid}
    reap = threading.Thread(target=lambda: [p.wait() for p in (heir, writer, stubborn)])
    reap.start()
    assert guard.end_holders(str(root), grace_s=0.3, spare=frozenset()) == set()
    reap.join()
    assert (heir.returncode, writer.returncode, stubborn.returncode) == (-15, -15, -9)
    assert reader.poll() is None
    reader.kill()
    reader.wait()
