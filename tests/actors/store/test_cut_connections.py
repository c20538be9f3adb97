"""Connections to PostgreSQL that are cut at any moment, commits included, lose nothing."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from actors.orchestrator.recorder import Recorder
from actors.store.failure import TransientStoreError
from actors.store.store import Store
from familiar import event as e
from familiar.event import Draft, Event
from tests.actors.store.conftest import NewUrl
from tests.actors.store.histories import STORY_TEXTS, number, seqs, story, submitted

pytestmark = pytest.mark.postgres

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 20))]


@pytest.fixture
def url(postgres_urls: NewUrl) -> str:
    return postgres_urls()


@pytest.mark.parametrize("seed", SEEDS)
def test_terminated_connections_lose_and_double_nothing(url: str, seed: int) -> None:
    """Connections are cut at random moments, commits included; each append is repeated."""
    store = Store.open(url, create=True)
    epoch = store.take_epoch()
    runs = [f"run-{index}" for index in range(10)]
    with cutting(url, seed, most=25) as cuts:
        for place, body in enumerate([submitted(), *(e.TurnStarted(turn=n) for n in range(1, 6))]):
            for run_id in runs:
                _append_until_done(store, [Event(run_id, place + 1, epoch, 1.0, body)])
    assert cuts[0] > 0
    for run_id in runs:
        assert seqs(list(store.events(run_id))) == [1, 2, 3, 4, 5, 6]
    store.close()


@contextmanager
def cutting(url: str, seed: int, *, most: int) -> Iterator[list[int]]:
    """Terminate the connections of everybody else at random moments, about `most` in all; the
    number so far."""
    chance = random.Random(seed)
    done = threading.Event()
    cuts = [0]

    def cut() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            # A bounded number, so that a slow machine gets its connection in the end.
            while cuts[0] < most and not done.wait(chance.random() * 0.05):
                found = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).fetchall()
                cuts[0] += len(found)

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        yield cuts
    finally:
        done.set()
        cutter.join()


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_recorder_outlives_126_terminated_connections(url: str, seed: int) -> None:
    """20 runs are recorded side by side, each to its end, whatever was cut."""
    store = await asyncio.to_thread(Store.open, url, create=True)
    recorder = Recorder(store, store.take_epoch())

    async def run(run_id: str) -> list[int]:
        seqs = []
        for body in [submitted(idempotency_key=run_id), *story()[1:]]:
            events = await recorder.record([Draft(run_id, body, 1.0, STORY_TEXTS)])
            seqs += [event.seq for event in events]
            await asyncio.sleep(0.01)
        return seqs

    with cutting(url, seed, most=126) as cuts:
        found = await asyncio.gather(*(run(f"run-{index}") for index in range(20)))
    assert cuts[0] > 0
    whole = list(range(1, len(story()) + 1))
    assert found == [whole] * 20
    for index in range(20):
        assert seqs(list(store.events(f"run-{index}"))) == whole
    assert store.open_runs() == []
    await recorder.close()
    store.close()


def _append_until_done(store: Store, events: list[Event]) -> None:
    for _ in range(200):
        try:
            store.append(events, {})
        except TransientStoreError:
            time.sleep(0.02)
            continue
        return
    raise AssertionError("never written")


def test_a_connection_that_is_cut_while_it_commits_is_looked_up(url: str) -> None:
    """The server commits, and its answer is lost with the connection."""
    store = Store.open(url, create=True)
    epoch = store.take_epoch()
    commit = store._writer.dialect.do_commit

    def commit_and_break(connection: object) -> None:
        commit(connection)  # type: ignore[arg-type]
        connection.driver_connection.close()  # type: ignore[attr-defined]
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    store._writer.dialect.do_commit = commit_and_break  # type: ignore[method-assign]
    events = number([submitted(idempotency_key="k")], epoch)
    with pytest.raises(TransientStoreError):
        store.append(events, {})
    store._writer.dialect.do_commit = commit  # type: ignore[method-assign]
    assert store.last_seq("run-1") == 0
    store.append(events, {})
    assert store.last_seq("run-1") == 1
    store.close()
