"""Dying on purpose: a process that kills itself with SIGKILL at a named step, for the kill tests.

`FAMILIAR_CRASH` names a file that holds `PROCESS/STEP:N`. It can be written at any time, again and
again, and each writing ends exactly one process: the one that reaches the step for the Nth time
since then renames the file to `FILE.PID` and dies.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

_times: Counter[int] = Counter()
"""How often the step was reached in this process, by the time at which the file was written."""


def reached(step: str) -> None:
    """Die here if the file says so. Without the variable this does nothing."""
    if not (name := os.environ.get("FAMILIAR_CRASH")):
        return
    armed = Path(name)
    try:
        written = armed.stat().st_mtime_ns
        wanted, _, nth = armed.read_text(encoding="utf-8").strip().partition(":")
        if wanted != step:
            return
        _times[written] += 1
        if _times[written] < int(nth or "1"):
            return
        armed.rename(f"{armed}.{os.getpid()}")
    except FileNotFoundError:  # not armed, or another process was quicker
        return
    os.kill(os.getpid(), signal.SIGKILL)
