"""A process dies at the step that was named, and only there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from actors.crash import reached


def test_a_crash_strikes_at_the_nth_time_and_only_at_its_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed: list[int] = []
    monkeypatch.setattr("actors.crash.os.kill", lambda pid, number: killed.append(number))
    armed = tmp_path / "armed"
    monkeypatch.setenv("FAMILIAR_CRASH", str(armed))
    reached("workspace/renamed")
    armed.write_text("workspace/renamed:2")
    reached("workspace/renamed")
    reached("workspace/committed")
    reached("workspace/committed")
    assert (killed, armed.exists()) == ([], True)
    reached("workspace/renamed")
    assert (killed, armed.exists()) == ([signal.SIGKILL], False)
    assert Path(f"{armed}.{os.getpid()}").exists()
    reached("workspace/renamed")
    assert killed == [signal.SIGKILL]
