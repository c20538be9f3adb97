"""An orchestrator takes its database when it is free, or when its owner is proved gone; its lease
shows an outage, or a database that was replaced, while no run writes anything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.orchestrator import ownership
from actors.orchestrator.ownership import Ownership
from actors.store.store import Store
from familiar.errors import StaleEpoch
from tests.actors.until import until


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    url = f"sqlite:///{tmp_path}/familiar.db"
    opened = Store.open(url, create=True), Store.open(url, create=True)
    yield opened
    for store in opened:
        store.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "LEASE_S", 0.6)
    monkeypatch.setattr(ownership, "PAUSE_S", 0.01)


async def test_an_actor_that_ray_started_again_is_the_owner_still(
    stores: tuple[Store, Store],
) -> None:
    first, again = stores
    epoch = await Ownership("actor", "").take(first)
    assert await Ownership("actor", "").take(again) == epoch + 1


async def test_the_predecessor_that_ray_ended_is_not_waited_for(
    stores: tuple[Store, Store],
) -> None:
    first, successor = stores
    first.owner_id = "old"
    epoch = first.take_epoch(lease_s=60)
    assert await Ownership("new", "old").take(successor) == epoch + 1


async def test_an_owner_that_lives_is_named_and_waited_for(stores: tuple[Store, Store]) -> None:
    first, other = stores
    first_owner = Ownership("first", "")
    epoch = await first_owner.take(first)
    kept = asyncio.ensure_future(first_owner.keep())
    waiting = Ownership("other", "somebody else")
    taking = asyncio.ensure_future(waiting.take(other))
    await until(lambda: waiting.other is not None)
    assert not waiting.fenced  # it may be one that crashed
    await until(lambda: waiting.fenced)
    assert "is owned by process" in str(waiting.other)
    assert not taking.done()
    kept.cancel()
    first.release()
    assert await taking == epoch + 1
    assert (waiting.other, waiting.fenced) == (None, False)
    with pytest.raises(StaleEpoch):
        await first_owner.keep()


def test_a_process_of_this_machine_that_is_gone_is_proof(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/familiar.db"
    code = (
        "import sys; from actors.store.store import Store\n"
        "Store.open(sys.argv[1], create=True).take_epoch(lease_s=3600)"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True, cwd=Path(__file__).parents[3])
    store = Store.open(url, create=False)
    assert asyncio.run(asyncio.wait_for(Ownership("next", "").take(store), 10)) == 2
    store.close()


async def test_a_database_that_is_away_is_a_problem_until_it_is_back(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    owner = Ownership("actor", "")
    await owner.take(stores[0])
    keeping = asyncio.create_task(owner.keep())
    path = tmp_path / "familiar.db"
    path.rename(tmp_path / "away")
    await until(lambda: owner.problem is not None)
    assert "was removed" in str(owner.problem)
    (tmp_path / "away").rename(path)
    await until(lambda: owner.problem is None)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
