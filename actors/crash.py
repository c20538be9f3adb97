"""Dying on purpose: a process that kills itself with SIGKILL at a named step, for the kill tests.

`FAMILIAR_CRASH=renamed:3` strikes when the step `renamed` is reached for the third time in this
process. `FAMILIAR_CRASH_ONCE` names a marker file: the crash makes it, and while it exists nothing
strikes, so the process that takes over lives. The environment is read once, where an actor starts;
without the variable every step costs one call of a function that does nothing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from familiar.errors import ConfigError

Crash = Callable[[str], None]
"""Called with the name of each step as it is reached."""


@dataclass(frozen=True, slots=True)
class CrashSpec:
    """Die when `point` is reached for the `nth` time, unless `marker` exists."""

    point: str
    nth: int
    marker: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> CrashSpec | None:
        text = environment.get("FAMILIAR_CRASH", "")
        if not text:
            return None
        point, _, nth = text.partition(":")
        if not point or not (nth or "1").isdecimal() or int(nth or "1") < 1:
            raise ConfigError(
                f"FAMILIAR_CRASH={text} is not POINT:N with N from 1.", where="FAMILIAR_CRASH"
            )
        return cls(point, int(nth or "1"), environment.get("FAMILIAR_CRASH_ONCE", ""))


def never(point: str) -> None:
    """The crash hook of every process that is not under test."""


def crasher(spec: CrashSpec | None) -> Crash:
    """The hook that does what `spec` says."""
    if spec is None:
        return never
    reached: Counter[str] = Counter()

    def strike(point: str) -> None:
        reached[point] += 1
        if point != spec.point or reached[point] != spec.nth:
            return
        if spec.marker:
            try:
                Path(spec.marker).touch(exist_ok=False)
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGKILL)

    return strike
