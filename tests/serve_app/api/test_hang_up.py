"""Many submissions at once, from clients that hang up at random: no run without a performer, and no
second run for one key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from actors.store.rows import RunRow
from bench.deployment import Deployment, served
from bench.http_load import Posted, post_all
from bench.load_script import settings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def target() -> Iterator[Deployment]:
    with served(settings()) as made:
        yield made


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_clients_that_hang_up_leave_no_run_behind(target: Deployment, seed: int) -> None:
    check(target, asyncio.run(post_all(target.url, count=60, width=30, seed=seed)), 60)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_600_submissions_200_at_once(target: Deployment, seed: int) -> None:
    check(target, asyncio.run(post_all(target.url, count=600, width=200, seed=seed)), 600)


def check(target: Deployment, posted: Posted, count: int) -> None:
    """Every key has one run; every run of the database ends, and none had to be taken up."""
    assert posted.hung_up > 0
    assert len(posted.by_key) == count
    assert all(len(runs) == 1 for runs in posted.by_key.values())
    assert len(posted.run_ids) == count
    # Runs whose clients never heard of them are among these.
    open_too = {row.run_id for row in all_runs(target)}
    rows = target.wait_all(sorted(open_too), timeout_s=900)
    keys = [row.idempotency_key for row in rows]
    assert len(keys) == len(set(keys))
    assert set(posted.by_key) <= set(keys)
    assert ray.get(target.orchestrator.__ray_call__.remote(left)) == (set(), set(), 0)


def all_runs(target: Deployment) -> list[RunRow]:
    rows: list[RunRow] = []
    while page := target.reader.list_runs(200, rows[-1].run_id if rows else None):
        rows += page
    return rows


def left(actor: Any) -> tuple[set[str], set[str], int]:
    """Open runs, performers, and how many runs and calls were ever taken up."""
    return set(actor._store.open_runs()), set(actor._performers), actor._metrics.all_taken_up
