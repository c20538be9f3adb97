"""A service whose database another one took says so, comes back where it may, and ends otherwise:
real processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from actors.store.lease import OwnedElsewhere
from actors.store.store import Store
from familiar.config.load import load_config
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

pytestmark = [pytest.mark.ray, pytest.mark.long]


def serve(config: Path, port: int) -> AbstractContextManager[Program]:
    return program(
        *("-m", "serve_app.cli", "serve", "-c", str(config), "--set", f"api.port={port}")
    )


@contextmanager
def another_owner(config: Path) -> Iterator[None]:
    """This process owns the database, as an orchestrator does that proved the one before gone."""
    store = Store.open(load_config(config).store.url, create=False)
    with pytest.raises(OwnedElsewhere) as owned:
        store.take_epoch()
    store.take_epoch(lease_s=PATIENCE_S, gone=owned.value.owner_id)
    yield
    store.release()
    store.close()


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
        with another_owner(config):
            # It says so, on its health route and to the person who started it.
            wait_reason(first_port, f"is owned by process {os.getpid()}")
            first.wait_for("Runs cannot be worked on")
        # The other one left in time: the first is the rightful owner again.
        first.wait_for("Ready again.")
        wait_reason(first_port, '"ready":true')
        ran = familiar("run", GOAL, "--follow", "--url", f"http://127.0.0.1:{first_port}")
        assert ran.code == 0, ran.err

        # Long enough for its lease to run out; meanwhile another service takes the database.
        stopped = orchestrator_of(first)
        stopped.suspend()
        try:
            with serve(config, second_port) as second:
                second.wait_for("familiar serves at")
                stopped.resume()
                # The other one stays: the first ends, with the reason, and harms nothing.
                assert first.end() == 4
                assert "Another deployment has taken over." in first.said
                assert f"on {os.uname().nodename}" in first.said
                assert first.left() == []
                ran = familiar("run", GOAL, "--follow", "--url", f"http://127.0.0.1:{second_port}")
                assert ran.code == 0, ran.err
                assert second.end(signal.SIGTERM) == 143, second.said
                assert second.left() == []
        finally:
            if stopped.is_running():
                stopped.resume()
