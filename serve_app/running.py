"""Which process of this machine keeps a deployment with a Ray of its own up.

While it does, a small private file names it, so that `familiar down` can end it. A process is
recognised by its id and the time at which it began: an id that was given to another process since
is never signalled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from actors.private_file import make_private_folder
from familiar.config.schema import Config
from familiar.errors import ClusterError

END_S = 90.0
_PAUSE_S = 0.1


@contextlib.contextmanager
def recorded_as_running(config: Config) -> Iterator[None]:
    """Name this process as the one that keeps the deployment up."""
    path = _path(config)
    make_private_folder(path.parent)
    draft = path.with_suffix(f".{os.getpid()}")
    with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"pid": os.getpid(), "began": psutil.Process().create_time()}, file)
    draft.replace(path)
    try:
        yield
    finally:
        if _read(path)[0] == os.getpid():
            path.unlink(missing_ok=True)


def end_running(config: Config) -> bool:
    """End the process that keeps the deployment up, with all it started; False if there is none."""
    path = _path(config)
    pid, began = _read(path)
    try:
        process = psutil.Process(pid)
        if not pid or abs(process.create_time() - began) > 1.0:
            raise psutil.NoSuchProcess(pid)
        process.send_signal(signal.SIGTERM)
    except (psutil.NoSuchProcess, ValueError):
        path.unlink(missing_ok=True)
        return False
    except psutil.AccessDenied:
        raise ClusterError(
            f"Process {pid} keeps the deployment up and belongs to another user.",
            remedy="Run the command as that user.",
        ) from None
    deadline = time.monotonic() + END_S
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Process {pid} has not ended {END_S:g} s after SIGTERM.",
                remedy=f"Check what it is doing, or end it at once: kill -9 {pid}",
            )
        time.sleep(_PAUSE_S)
    return True


def _path(config: Config) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    store = hashlib.sha256(config.store.url.encode()).hexdigest()[:12]
    return state / "familiar" / "running" / f"{config.deployment}-{store}.json"


def _read(path: Path) -> tuple[int, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return int(found["pid"]), float(found["began"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0.0
