"""The lease shows an outage, or a database that was replaced, while no run writes anything."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from actors.orchestrator.ownership import Ownership
from actors.store.store import Store
from familiar.errors import StaleEpoch
from tests.actors.until import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "familiar.db"


async def owned(path: Path, monkeypatch: pytest.MonkeyPatch) -> Ownership:
    monkeypatch.setattr("actors.orchestrator.ownership.LEASE_S", 0.06)
    ownership = Ownership(Store.open(f"sqlite:///{path}", create=True))
    await ownership.take(predecessor_gone=False, waiting=print)
    return ownership


async def test_a_database_that_is_away_is_a_problem_until_it_is_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ownership = await owned(path, monkeypatch)
    keeping = asyncio.create_task(ownership.keep())
    os.rename(path, f"{path}-away")
    await until(lambda: ownership.problem is not None)
    assert "was removed" in str(ownership.problem)
    os.rename(f"{path}-away", path)
    await until(lambda: ownership.problem is None)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    ownership.store.close()


async def test_another_owner_ends_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ownership = await owned(path, monkeypatch)
    other = Store.open(f"sqlite:///{path}", create=False)
    other.take_epoch(predecessor_gone=True)
    with pytest.raises(StaleEpoch):
        await asyncio.wait_for(ownership.keep(), 30)
    for store in (other, ownership.store):
        store.close()
