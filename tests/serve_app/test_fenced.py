"""A service whose database another one took says so, comes back where it may, and ends otherwise:
real processes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.serve_app.command import familiar
from tests.serve_app.scripted import (
    GOAL,
    MARK,
    PATIENCE_S,
    Program,
    free_port,
    program,
    write_config,
)

pytestmark = [pytest.mark.ray, pytest.mark.alone]


def serve(config: Path, port: int) -> AbstractContextManager[Program]:
    return program(
        *("-m", "serve_app.cli", "serve", "-c", str(config), "--set", f"api.port={port}")
    )


def orchestrator_of(service: Program) -> psutil.Process:
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "ray::Orchestrator" in " ".join(process.info["cmdline"] or [])
        and process.environ().get(MARK) == service.mark
    ]
    assert len(found) == 1
    return found[0]


def reasons(port: int) -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).text
    except httpx.TransportError as error:
        return str(error)


def wait_reason(port: int, words: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while words not in (said := reasons(port)):
        assert time.monotonic() < deadline, said
        time.sleep(0.3)


def test_a_fenced_service_says_so_and_comes_back_or_ends(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    first_port, second_port = free_port(), free_port()
    with serve(config, first_port) as first:
        first.wait_for("familiar serves at")
        # Long enough for its lease to run out; meanwhile another service takes the database.
        stopped = orchestrator_of(first)
        stopped.suspend()
        try:
            with serve(config, second_port) as second:
                second.wait_for("familiar serves at")
                stopped.resume()
                # It says so, on its health route and to the person who started it.
                wait_reason(first_port, "is owned by process")
                first.wait_for("Runs cannot be worked on")
                # The other one leaves in time: it is the rightful owner again.
                assert second.end(signal.SIGTERM) == 143
            first.wait_for("Ready again.")
            wait_reason(first_port, '"ready":true')
            ran = familiar("run", GOAL, "--follow", "--url", f"http://127.0.0.1:{first_port}")
            assert ran.code == 0, ran.err

            stopped = orchestrator_of(first)
            stopped.suspend()
            with serve(config, second_port) as third:
                third.wait_for("familiar serves at")
                stopped.resume()
                # The other one stays: the first ends, with the reason, and harms nothing.
                assert first.end() == 4
                assert "Another deployment has taken over." in first.said
                assert f"on {os.uname().nodename}" in first.said
                assert first.left() == []
                ran = familiar("run", GOAL, "--follow", "--url", f"http://127.0.0.1:{second_port}")
                assert ran.code == 0, ran.err
        finally:
            if stopped.is_running():
                stopped.resume()
