"""The directory of one local Ray: sockets, logs, spilled objects.

It lies inside a directory of mode 0700: Ray gives its own directory mode 0777, whatever it was
before, and another user could reach its sockets.

It is short, because the path of a Unix socket has at most 107 bytes and Ray adds sixty. It names
its owner (pid and start time, so a recycled pid is no owner). A clean stop removes it; the next
start removes those of dead owners, except the newest three, whose logs may still be wanted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from cluster import guard
from familiar.errors import ClusterError

PREFIX = "fam-"
KEPT_DIRECTORIES = 3
REMOVE_S = 3.0
_OWNER_FILE = "owner"
_RAY = "ray"
_LONGEST_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"
_UNIX_PATH_LIMIT = 107


def make_directory(root: Path) -> Path:
    """A new empty directory for Ray, `root/fam-xxxxxxxx/ray`, marked as this process's own.

    Raises ClusterError.
    """
    if len(str(root)) + len(f"/{PREFIX}12345678{_LONGEST_SOCKET}") > _UNIX_PATH_LIMIT:
        raise ClusterError(
            f"{root} is too long a path for Ray's sockets (107 bytes in all).",
            remedy="Use a short one, e.g. /tmp.",
        )
    try:
        _sweep(root)
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        (directory / _OWNER_FILE).write_text(f"{os.getpid()} {_started(os.getpid())}\n")
        (directory / _RAY).mkdir()
    except OSError as error:
        raise ClusterError(
            f"No directory for a local Ray can be made in {root}: {error.strerror}.",
            remedy="Free some space, or give a directory that this user may write.",
        ) from error
    return directory / _RAY


def remove_directory(made: Path) -> None:
    """Remove a directory that `make_directory` made, and the private one around it.

    A process that ends at this moment may still write there, so it is done again for a while.
    """
    deadline = time.monotonic() + REMOVE_S
    while made.parent.exists() and time.monotonic() < deadline:
        shutil.rmtree(made.parent, ignore_errors=True)
        time.sleep(0.02)


def _sweep(root: Path) -> None:
    """Remove the directories of dead owners, except the newest, whose logs may still be wanted."""
    dead: list[tuple[float, Path]] = []
    for directory in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            pid, started = (directory / _OWNER_FILE).read_text().split()
            owned = directory.stat().st_uid == os.getuid()
            if owned and _started(int(pid)) != started and not guard.holders(str(directory / _RAY)):
                dead.append((directory.stat().st_mtime, directory))
    for _, directory in sorted(dead, reverse=True)[KEPT_DIRECTORIES:]:
        shutil.rmtree(directory, ignore_errors=True)


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot, or "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
