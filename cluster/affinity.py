"""Bind this process to a set of CPU cores.

Ray reserves a number of CPUs and leaves open which ones; on hosts without GPUs a device is a set of
named cores, so the replica's process keeps to them itself. The kernel keeps affinity per thread and
new threads inherit it, so every thread that already runs is moved too (an actor has a dozen before
its constructor is called). Linux only; cores that the process may not use are refused, not dropped.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from familiar.errors import ClusterError


def usable_cores() -> tuple[int, ...]:
    """The cores that this process may run on, in order; a container may have few."""
    return tuple(sorted(os.sched_getaffinity(0)))


def bind_to_cores(cores: Collection[int]) -> None:
    """Move every thread of this process to `cores`. Raises ClusterError when one is not usable."""
    if not cores:
        raise ClusterError("There are no cores to bind to.", remedy="Name at least one core.")
    wanted = set(cores)
    before = os.sched_getaffinity(0)
    try:
        _bind(0, wanted)
    except ClusterError:
        os.sched_setaffinity(0, before)
        raise
    for _ in range(3):  # threads started while the first pass ran may have the old affinity
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                _bind(int(thread.name), wanted)


def _bind(thread: int, wanted: set[int]) -> None:
    try:
        os.sched_setaffinity(thread, wanted)
    except ProcessLookupError:
        raise
    except OSError as error:
        raise _refused(wanted) from error
    # The kernel silently drops cores that do not exist as long as one does.
    if os.sched_getaffinity(thread) != wanted:
        raise _refused(wanted)


def _refused(wanted: set[int]) -> ClusterError:
    return ClusterError(
        f"This process cannot be bound to cores {_listed(wanted)}; "
        f"those it may use are {_listed(usable_cores())}.",
        remedy="Name other cores in the replica's `cores`, or give the container more.",
    )


def _listed(cores: Collection[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
