"""A writer that is killed with SIGKILL at any moment leaves a whole history behind."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from actors.orchestrator import recorder as recorder_module
from actors.orchestrator.recorder import Recorder
from actors.store.store import Store
from familiar import event as e
from tests.actors.store.histories import T0, dump, pragma, ref, story

CONTEXT = multiprocessing.get_context("fork")


async def _record_stories(url: str, epoch_from: Connection, kill_at: int | None) -> None:
    """Record stories without end, and report each event once it is acknowledged."""

    store = Store.open(url, create=False)
    recorder = Recorder(store, store.take_epoch())
    if kill_at is not None:
        count = itertools.count(1)

        def crash(step: str) -> None:
            if next(count) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        recorder_module.reached = crash

    async def live(run_id: str) -> None:
        first, *rest = story()
        assert isinstance(first, e.RunSubmitted)
        bodies: list[e.Body] = [first.model_copy(update={"idempotency_key": None}), *rest]
        for place, body in enumerate(bodies):
            text = f"{run_id} {place} " + "x" * 2000
            draft = e.Draft(run_id, body, T0 + place, {ref(text).sha256: text})
            for event in await recorder.record([draft]):
                epoch_from.send((event.run_id, event.seq))

    number = 0
    while True:
        await asyncio.gather(*(live(f"{os.getpid()}-{number}-{run}") for run in range(5)))
        number += 1


def _child(url: str, reports: Connection, kill_at: int | None) -> None:
    asyncio.run(_record_stories(url, reports, kill_at))


def _run_until_killed(url: str, kill_at: int | None, acknowledged: int) -> dict[str, int]:
    """What a killed writer had acknowledged: the highest seq of each run."""
    receive, send = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_child, args=(url, send, kill_at))
    process.start()
    send.close()
    told: dict[str, int] = {}
    count = 0
    try:
        while True:
            run_id, seq = receive.recv()
            told[run_id] = seq
            count += 1
            if kill_at is None and count == acknowledged:
                process.kill()
    except EOFError:
        pass
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    return told


@pytest.mark.parametrize("seed", range(6))
def test_what_was_acknowledged_is_there_and_nothing_is_half_there(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    url = f"sqlite:///{tmp_path}/a.db"
    Store.open(url, create=True).close()
    for at_a_commit in (True, False):
        moment = chance.randint(1, 120)
        told = _run_until_killed(url, moment if at_a_commit else None, moment)

        store = Store.open(url, create=False)
        for run_id, seq in told.items():
            events = [event.seq for event in store.events(run_id)]
            assert events == list(range(1, len(events) + 1))
            assert len(events) >= seq
            for place in range(seq):
                text = f"{run_id} {place} " + "x" * 2000
                assert store.text(ref(text).sha256) == text
        rows = dump(store)
        assert rows["runs"]
        store.rebuild_projections()
        assert dump(store) == rows
        assert pragma(store, "integrity_check") == "ok"
        store.close()
