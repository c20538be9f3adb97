"""A process dies at the step that was named, and only there."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from actors.crash import CrashSpec, crasher
from familiar.errors import ConfigError


def test_a_crash_strikes_at_the_nth_time_and_only_at_its_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed: list[int] = []
    monkeypatch.setattr("actors.crash.os.kill", lambda pid, number: killed.append(number))
    marker = tmp_path / "marker"
    crash = crasher(CrashSpec("renamed", 2, str(marker)))
    crash("renamed")
    crash("committed")
    crash("committed")
    assert (killed, marker.exists()) == ([], False)
    crash("renamed")
    assert (killed, marker.exists()) == ([signal.SIGKILL], True)
    successor = crasher(CrashSpec("renamed", 1, str(marker)))
    successor("renamed")
    assert killed == [signal.SIGKILL]


def test_the_crash_variable_is_read_strictly() -> None:
    read = CrashSpec.from_environment
    assert read({}) is None
    assert read({"FAMILIAR_CRASH": "renamed:3"}) == CrashSpec("renamed", 3)
    assert read({"FAMILIAR_CRASH": "renamed", "FAMILIAR_CRASH_ONCE": "/x"}) == CrashSpec(
        "renamed", 1, "/x"
    )
    for wrong in ("renamed:0", "renamed:x", ":1"):
        with pytest.raises(ConfigError, match="FAMILIAR_CRASH"):
            read({"FAMILIAR_CRASH": wrong})
