"""What every deployment needs of a machine: Python, Ray, git, openat2, memory, room in /tmp."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from familiar.errors import WorkspaceError
from serve_app.doctor.check import Check, missing, note, ok

GIB = 1024**3
# Ray with its GCS, raylet and agents, Serve's controller and proxy, the orchestrator.
RAY_GIB = 2.0
TMP_GIB = 1.0
_IMPORT_S = 120


def look_at_machine() -> list[Check]:
    """Everything that no configuration changes."""
    return [
        _python(),
        _ray(),
        _git(),
        _openat2(),
        _memory(),
        _room("/tmp", TMP_GIB),
        _shm(),
        *_ports(),
    ]


def _python() -> Check:
    version = platform.python_version()
    if version.startswith("3.11."):
        return ok("python", f"{version} at {sys.executable}")
    return note(
        "python",
        f"{version}; familiar is tested with 3.11 only.",
        "Make a virtual environment with python3.11.",
    )


def _ray() -> Check:
    if importlib.util.find_spec("ray") is None:
        return missing("ray", "It is not installed.", "Run scripts/setup, or pip install familiar.")
    version = metadata.version("ray")
    # In a process of its own: a broken import must not end the doctor.
    tried = subprocess.run(
        [sys.executable, "-c", "import ray"],
        capture_output=True,
        text=True,
        timeout=_IMPORT_S,
        check=False,
    )
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or ["it ended without a message"])[-1]
        return missing("ray", f"{version} cannot be imported: {last}", "Run scripts/setup again.")
    return ok("ray", version)


def _git() -> Check:
    found = shutil.which("git")
    if found is None:
        return missing(
            "git",
            "git is not installed, and every workspace is a git repository.",
            "Debian: apt-get install git.",
        )
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return ok("git", said.stdout.strip().removeprefix("git version "))


def _openat2() -> Check:
    from actors.workspace.openat import open_beneath

    with tempfile.TemporaryDirectory() as folder:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.close(open_beneath(directory, "probe", os.O_CREAT | os.O_WRONLY, 0o600))
        except (OSError, WorkspaceError) as error:
            return missing(
                "openat2",
                f"The kernel cannot resolve paths below a directory: {error}.",
                "Linux 5.6 or later is needed; a sandbox may forbid the call.",
            )
        finally:
            os.close(directory)
    return ok("openat2", f"Linux {os.uname().release}")


def _memory() -> Check:
    free = psutil.virtual_memory().available / GIB
    if free < RAY_GIB:
        return note(
            "memory",
            f"{free:.1f} GiB are free; Ray and the service take about {RAY_GIB:.0f} GiB.",
            "Stop other programs; otherwise the kernel may kill engines.",
        )
    return ok("memory", f"{free:.1f} GiB are free")


def _room(path: str, wanted_gib: float) -> Check:
    free = shutil.disk_usage(path).free / GIB
    if free < wanted_gib:
        return missing(
            f"room in {path}",
            f"{free:.2f} GiB are free; {wanted_gib:g} GiB are needed.",
            "Free some space.",
        )
    return ok(f"room in {path}", f"{free:.1f} GiB are free")


def _shm() -> Check:
    if not Path("/dev/shm").is_dir():
        return note("/dev/shm", "It is not there; Ray keeps its objects on the disk instead.")
    free = shutil.disk_usage("/dev/shm").free / GIB
    if free < 0.25:
        return note(
            "/dev/shm",
            f"{free:.2f} GiB are free; Ray may keep its objects on the disk, which is slower.",
            "In a container: docker run --shm-size=1g.",
        )
    return ok("/dev/shm", f"{free:.1f} GiB are free")


def _ports() -> Iterator[Check]:
    """Ports that other machines can reach, of each local Ray that familiar keeps up now."""
    from cluster.ports import exposed_ports, local_rays

    rays = local_rays()
    found = [port for ray in rays for port in exposed_ports(ray)]
    for port in found:
        yield note(
            "open port",
            f"{port}. Requests there need Ray's token.",
            "Let a firewall reject connections from other machines to it.",
        )
    if rays and not found:
        yield ok("open ports", "the local Ray listens on loopback only")
