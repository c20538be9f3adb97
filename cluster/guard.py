"""A small process that outlives the owner of a local Ray, to end the processes that are left.

Why: Ray's own processes die with the process that started them, but not all of them. When the
owner is killed with SIGKILL, the kernel ends the GCS and the raylet, workers notice within
seconds, and the two agents of the node stay for minutes (measured with 2.60). An engine that
forked its own children leaves those as well.

How: every process of one local Ray either inherits a marker in its environment or has a file open
for writing below the cluster's private directory. Both are inherited, so grandchildren count too.
The guard waits for its parent through a pidfd, which cannot be fooled by a recycled pid, then
sends SIGTERM and, after a grace period, SIGKILL until nobody is left.

It is run by path in an isolated interpreter and therefore imports the standard library only. It
never ends a process of another user, nor one that merely reads the logs.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time

MARKER = "FAMILIAR_LOCAL_RAY"
GRACE_S = 2.0
GIVE_UP_S = 20.0


def holders(directory: str) -> set[int]:
    """Live processes of this user that belong to the local Ray in `directory`."""
    mark = f"{MARKER}={directory}".encode()
    inside = directory.rstrip("/") + "/"
    own = os.getuid()
    found: set[int] = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{entry}").st_uid == own and (
                _is_marked(entry, mark) or _writes_below(entry, inside)
            ):
                found.add(int(entry))
    return found - {os.getpid()}


def end_holders(directory: str, *, grace_s: float = GRACE_S, spare: frozenset[int]) -> set[int]:
    """End every holder except `spare`; return the pids that were still there after 20 s."""
    start = time.monotonic()
    while left := holders(directory) - spare:
        waited = time.monotonic() - start
        if waited > GIVE_UP_S:
            return left
        for pid in left:
            _signal(pid, signal.SIGTERM if waited < grace_s else signal.SIGKILL)
        time.sleep(0.1)
    return set()


def keys_beside(directory: str) -> str:
    """Where the keys of the local Ray in `directory` are kept."""
    return os.path.join(os.path.dirname(directory.rstrip("/")), "keys")


def main(arguments: list[str]) -> int:
    """`guard.py OWNER_PID DIRECTORY`: wait for the owner's death, then end its processes."""
    owner, directory = int(arguments[0]), arguments[1]
    try:
        owner_fd = os.pidfd_open(owner)
    except ProcessLookupError:
        owner_fd = None
    # Only while the owner is still the parent does the pidfd surely mean the owner.
    if owner_fd is not None and os.getppid() == owner:
        select.select([owner_fd], [], [])
    left = end_holders(directory, spare=frozenset())
    # The directory stays for its logs; keys must not.
    shutil.rmtree(keys_beside(directory), ignore_errors=True)
    return 1 if left else 0


def _is_marked(pid: str, mark: bytes) -> bool:
    with open(f"/proc/{pid}/environ", "rb") as stream:
        return mark in stream.read().split(b"\0")


def _writes_below(pid: str, inside: str) -> bool:
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith(inside):
                continue
            with open(f"/proc/{pid}/fdinfo/{fd}") as stream:
                for line in stream:
                    if line.startswith("flags:") and int(line.split()[1], 8) & 0o3:
                        return True
    return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
