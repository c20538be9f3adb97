"""Submissions whose clients go away at random: every open run has a performer, and no key has two
runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from actors.orchestrator.actor import Orchestrator
from actors.orchestrator.dispatcher import Dispatcher
from actors.orchestrator.intake import Intake
from actors.orchestrator.ownership import open_store
from actors.orchestrator.recorder import Recorder
from actors.orchestrator.texts import Texts
from actors.workspace.client import WorkspaceClient
from cluster.named_actor import pack
from familiar.config.schema import Config
from familiar.errors import Conflict
from familiar.service import RunReceipt, SubmitRun
from tests.actors.until import until


class Writable(WorkspaceClient):
    """A workspace in which nothing is in the way."""

    async def unwritable(
        self, root: str, paths: Sequence[str], *, patient: bool = True
    ) -> dict[str, str]:
        return {}


class Alone(Orchestrator):
    """An orchestrator without replicas and without Ray: its runs wait for their first plan."""

    def _actor_id(self) -> str:
        return "alone"

    async def _start(self) -> None:
        self._store = await asyncio.to_thread(open_store, self.config)
        self.epoch = await self._ownership.take(self._store)
        self._recorder = Recorder(self._store, self.epoch)
        self.texts = Texts(self._store.text)
        self.dispatcher = Dispatcher(self.config)
        self._intake = Intake(self.config, "c", self._store)
        self._workspace = Writable("alone", Path(), self.epoch)

    def orphans(self) -> set[str]:
        return set(self._store.open_runs()) ^ self._performers.keys()

    async def end(self) -> None:
        assert self._recorder is not None
        for performer in self._performers.values():
            performer.stop()
        await self._recorder.close()
        self._store.close()


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Alone]:
    config = Config.model_validate(
        {
            "pools": {"p": {"engine": "scripted", "model": "m", "replicas": [{}]}},
            "aliases": {"orchestrator": {"pool": "p"}},
            "store": {"url": f"sqlite:///{tmp_path}/familiar.db"},
            "workspace": {"root": str(tmp_path)},
            "api": {"auth": "none"},
        }
    )
    orchestrator = Alone("f", "", False, *pack(config))
    yield orchestrator
    await orchestrator.end()


@pytest.mark.parametrize("seed", range(3))
async def test_clients_that_go_away_leave_no_run_without_a_performer(
    alone: Alone, seed: int
) -> None:
    chance = random.Random(seed)
    gone = 0

    async def client(key: str) -> RunReceipt:
        nonlocal gone
        request = SubmitRun(f"Do {key}.", idempotency_key=key)
        for _ in range(chance.choice((0, 1, 2))):
            try:
                await asyncio.wait_for(alone.submit(request), chance.random() * 0.1)
            except TimeoutError:
                gone += 1
        return await alone.submit(request)

    receipts = await asyncio.gather(*(client(f"k-{number // 2}") for number in range(200)))
    assert gone > 0
    runs = {receipt.run_id for receipt in receipts}
    assert len(runs) == 100
    assert set(alone._store.open_runs()) == runs
    assert alone.orphans() == set()


async def test_a_client_that_goes_away_during_the_start_does_not_end_it(alone: Alone) -> None:
    waiting = asyncio.create_task(alone.submit(SubmitRun("Do this.")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await alone.submit(SubmitRun("Do this."))).created


async def test_of_two_submissions_to_a_session_one_is_rejected(alone: Alone) -> None:
    first = await alone.submit(SubmitRun("Do this."))
    await alone.cancel(first.run_id)
    await until(lambda: not alone._performers)
    more = SubmitRun("Do more.", session_id=first.session_id)
    found = await asyncio.gather(*(alone.submit(more) for _ in range(5)), return_exceptions=True)
    begun = [one for one in found if isinstance(one, RunReceipt)]
    assert len(begun) == 1, found
    assert all(isinstance(one, Conflict) for one in found if one is not begun[0])
    assert alone.orphans() == set()
