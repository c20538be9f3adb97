"""The CPU cores that a process may use. Linux only."""

from __future__ import annotations

import os


def usable_cores() -> tuple[int, ...]:
    """The cores that this process may run on, in order; a container may have few."""
    return tuple(sorted(os.sched_getaffinity(0)))
