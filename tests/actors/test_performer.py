"""One run's performer over stand-ins for what is around it: a store that is late, two replicas."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.dispatcher import Dispatcher
from actors.outcome import lost_outcome
from actors.performer import Performer
from actors.texts import Texts
from familiar import event as ev
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published, Timing, Usage
from familiar.config.schema import Config
from familiar.engine import EngineStats
from familiar.errors import FailureClass
from familiar.goal import read_goal
from familiar.limits import RunLimits
from familiar.plan.load import PoolLoad
from familiar.run.machine import RunMachine
from familiar.service import ReplicaView
from tests.actors.deployment import scripted_config

PLAN = (
    '{"continue": false, "worker_calls": '
    '[{"id": "look", "alias": "naughty", "prompt": "Say what you see.", "depends_on": []}]}'
)
COMMIT_S = 0.05
REPLICAS = ("near:0", "near:1")


class Around:
    """`Services` whose commits take a while and whose replicas lose each call's first try."""

    def __init__(self, config: Config) -> None:
        self.epoch = 1
        self.dispatcher = Dispatcher(config)
        self.texts = Texts(lambda sha256: None)
        self.log = logging.getLogger("test")
        self.ended: asyncio.Future[ev.RunEnded] = asyncio.get_running_loop().create_future()
        self.carried: list[tuple[str, CallKey]] = []
        self.released: list[tuple[str, CallKey]] = []
        self.performer: Performer
        for replica in REPLICAS:
            self.dispatcher.replica_changed(
                ReplicaView(replica, "near", "ready", "", (), "here", 4, 0, EngineStats())
            )

    def commit(self, run_id: str, events: Sequence[ev.Event], texts: Mapping[str, str]) -> None:
        self.texts.keep(texts)
        asyncio.get_running_loop().call_later(COMMIT_S, self._committed, events)

    def _committed(self, events: Sequence[ev.Event]) -> None:
        for event in events:
            self.performer.committed(event)
            if isinstance(event.body, ev.RunEnded):
                self.ended.set_result(event.body)

    def devices(self, replica: str) -> tuple[str, ...]:
        return ()

    def load(self) -> PoolLoad:
        return self.dispatcher.load({})

    async def holder(self, key: CallKey, replica: str) -> str | None:
        return None

    async def carry_out(self, replica: str, order: CallOrder) -> CallOutcome:
        self.carried.append((replica, order.key))
        if order.key.attempt == 1:
            return lost_outcome(order.key, FailureClass.BACKEND_UNREACHABLE, "it is gone")
        text = PLAN if order.key.call_id.startswith("plan-") else "All is well."
        now = time.time()
        return CallOutcome(
            order.key, Timing(started_at=now, ended_at=now), Usage(), text=text, raw=text
        )

    def committed_outcome(self, replica: str, key: CallKey) -> None:
        self.released.append((replica, key))

    async def publish(self, publication: Publication) -> Published:
        raise NotImplementedError

    async def stop(self, replica: str, key: CallKey) -> None:
        raise NotImplementedError


async def test_each_outcome_is_released_where_it_is_held(tmp_path: Path) -> None:
    config = scripted_config(tmp_path)
    around = Around(config)
    goal = read_goal("Look at it.", max_bytes=1000)
    around.performer = Performer(RunMachine("r"), goal, config, around)
    submitted = ev.RunSubmitted(
        limits=RunLimits.of(config),
        session_id="s",
        goal=ev.text_ref(goal.text),
        files=goal.files,
        workspace="/nowhere",
        config_hash="c",
    )
    around.performer.record([submitted], {submitted.goal.sha256: goal.text})
    ended = await asyncio.wait_for(around.ended, 60)
    assert ended.outcome == "succeeded"
    assert {key.call_id for _, key in around.carried} >= {"plan-1", "look"}
    # A call's next try is on its way to the other replica before the end of the first is committed.
    assert {replica for replica, key in around.carried if key.call_id == "look"} == set(REPLICAS)
    assert sorted(around.released) == sorted(around.carried)
