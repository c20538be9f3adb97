"""Dying on purpose: a process that kills itself with SIGKILL at a named step, for the kill tests.

`FAMILIAR_CRASH=renamed:3` strikes when the step `renamed` is reached for the third time in this
process. `FAMILIAR_CRASH_ONCE` names a marker file: the crash makes it, and while it exists nothing
strikes, so the process that takes over lives. `FAMILIAR_CRASH=/a/path` names a file that holds
`POINT:N`; it can be written at any time, again and again, and each writing ends exactly one
process: the file is renamed to `/a/path.PID` by the process that dies. A point may name the process
too (`replica/renamed`). The environment is read once, where an actor starts; without the variable
every step costs one call of a function that does nothing.
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
    """Die when `point` is reached for the `nth` time, unless `marker` exists; or do what the file
    `armed` says at the time."""

    point: str = ""
    nth: int = 1
    marker: str = ""
    armed: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> CrashSpec | None:
        text = environment.get("FAMILIAR_CRASH", "")
        if not text:
            return None
        if text.startswith("/"):
            return cls(armed=text)
        point, nth = _point_and_nth(text)
        return cls(point, nth, environment.get("FAMILIAR_CRASH_ONCE", ""))


def never(point: str) -> None:
    """The crash hook of every process that is not under test."""


def crasher(spec: CrashSpec | None, process: str = "") -> Crash:
    """The hook that does what `spec` says, in a process of the kind `process`."""
    if spec is None:
        return never
    if spec.armed:
        return _Armed(spec.armed, process)
    reached: Counter[str] = Counter()

    def strike(point: str) -> None:
        reached[point] += 1
        if spec.point not in (point, f"{process}/{point}") or reached[point] != spec.nth:
            return
        if spec.marker:
            try:
                Path(spec.marker).touch(exist_ok=False)
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGKILL)

    return strike


class _Armed:
    """Looks into its file at each step. What was reached is counted from when the file came."""

    def __init__(self, path: str, process: str) -> None:
        self._path = Path(path)
        self._process = process
        self._written = 0
        self._reached = 0

    def __call__(self, point: str) -> None:
        try:
            written = self._path.stat().st_mtime_ns
            wanted, nth = _point_and_nth(self._path.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return
        if wanted not in (point, f"{self._process}/{point}"):
            return
        if written != self._written:
            self._written, self._reached = written, 0
        self._reached += 1
        if self._reached < nth:
            return
        try:
            self._path.rename(f"{self._path}.{os.getpid()}")
        except FileNotFoundError:  # another process was quicker
            return
        os.kill(os.getpid(), signal.SIGKILL)


def _point_and_nth(text: str) -> tuple[str, int]:
    point, _, nth = text.partition(":")
    if not point or not (nth or "1").isdecimal() or int(nth or "1") < 1:
        raise ConfigError(
            f"FAMILIAR_CRASH={text} is not POINT:N with N from 1.", where="FAMILIAR_CRASH"
        )
    return point, int(nth or "1")
