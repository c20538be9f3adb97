"""One run's performer with stand-ins around it: a slow store, two replicas."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from actors.orchestrator.attempt import lost_outcome
from actors.orchestrator.dispatcher import Dispatcher
from actors.orchestrator.performer import Performer
from actors.orchestrator.texts import Texts
from familiar import event as ev
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published, Timing, Usage
from familiar.config.schema import Config
from familiar.engine import EngineStats
from familiar.errors import FailureClass
from familiar.goal import read_goal
from familiar.limits import RunLimits
from familiar.plan.view import PoolLoad
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
    """`Services` with slow commits, and with replicas that lose each call's first attempt."""

    def __init__(
        self,
        config: Config,
        evidence: Mapping[str, JsonValue] | None = None,
        replicas: Sequence[str] = REPLICAS,
    ) -> None:
        self.epoch = 1
        self.evidence = evidence
        self.dispatcher = Dispatcher(config)
        self.texts = Texts(lambda sha256: None)
        self.log = logging.getLogger("test")
        self.ended: asyncio.Future[ev.RunEnded] = asyncio.get_running_loop().create_future()
        self.attempts: list[tuple[str, CallKey]] = []
        self.history: list[ev.Event] = []
        self.committing = 0
        self.released: list[tuple[str, CallKey]] = []
        self.begun: list[float] = []
        self.performer: Performer
        for replica in replicas:
            self.dispatcher.replica_changed(
                ReplicaView(replica, "near", "ready", "", (), "here", 4, 0, EngineStats())
            )

    async def record(self, drafts: Sequence[ev.Draft]) -> list[ev.Event]:
        assert self.committing == 0, "two commits of one run at once"
        self.committing += 1
        await asyncio.sleep(COMMIT_S)
        self.committing -= 1
        seq = len(self.history)
        events = [
            ev.Event(draft.run_id, seq + n, self.epoch, draft.at, draft.body)
            for n, draft in enumerate(drafts, start=1)
        ]
        self.history += events
        return events

    def recorded(self, event: ev.Event) -> None:
        assert self.performer.machine.state.seq == event.seq
        if isinstance(event.body, ev.RunEnded):
            self.ended.set_result(event.body)

    def devices(self, replica: str) -> tuple[str, ...]:
        return ()

    def load(self) -> PoolLoad:
        return self.dispatcher.load({})

    async def holder(self, key: CallKey, replica: str) -> str | None:
        return None

    async def attempt(self, replica: str, order: CallOrder) -> CallOutcome:
        dispatched = [e.body for e in self.history if isinstance(e.body, ev.CallDispatched)]
        assert (order.key.call_id, order.key.attempt) in [(b.call, b.attempt) for b in dispatched]
        self.attempts.append((replica, order.key))
        self.begun.append(time.time())
        if order.key.attempt == 1:
            return lost_outcome(
                order.key, FailureClass.BACKEND_UNREACHABLE, "it is gone", self.evidence
            )
        text = PLAN if order.key.call_id.startswith("plan-") else "All is well."
        now = time.time()
        return CallOutcome(
            order.key, Timing(started_at=now, ended_at=now), Usage(), text=text, raw=text
        )

    def committed_outcome(self, replica: str, key: CallKey) -> None:
        self.released.append((replica, key))

    async def unwritable(self, root: str, paths: Sequence[str]) -> dict[str, str]:
        raise NotImplementedError

    async def publish(self, publication: Publication) -> Published:
        raise NotImplementedError

    async def stop(self, replica: str, key: CallKey) -> None:
        raise NotImplementedError


async def test_each_outcome_is_released_where_it_is_held(tmp_path: Path) -> None:
    around = await run_to_its_end(tmp_path)
    assert {key.call_id for _, key in around.attempts} >= {"plan-1", "look"}
    # A call's next attempt goes to the other replica before the end of the first is committed.
    assert {replica for replica, key in around.attempts if key.call_id == "look"} == set(REPLICAS)
    assert sorted(around.released) == sorted(around.attempts)


async def test_a_server_that_asks_for_time_is_waited_for(tmp_path: Path) -> None:
    asked = 0.4
    evidence = {"transient": True, "retry_after_s": asked}
    around = await run_to_its_end(tmp_path, evidence, REPLICAS[:1])
    chosen = {
        event.body.call: event.at
        for event in around.history
        if isinstance(event.body, ev.RecoveryChosen)
    }
    again = {
        key.call_id: at
        for at, (_, key) in zip(around.begun, around.attempts, strict=True)
        if key.attempt == 2
    }
    assert again.keys() == chosen.keys() >= {"plan-1", "look"}
    assert all(again[call] - chosen[call] >= asked for call in again)


async def test_another_replica_takes_the_call_without_a_wait(tmp_path: Path) -> None:
    around = await run_to_its_end(tmp_path, {"transient": True, "retry_after_s": 500.0})
    assert {replica for replica, key in around.attempts if key.call_id == "look"} == set(REPLICAS)


async def run_to_its_end(
    tmp_path: Path,
    evidence: Mapping[str, JsonValue] | None = None,
    replicas: Sequence[str] = REPLICAS,
) -> Around:
    config = scripted_config(tmp_path)
    around = Around(config, evidence, replicas)
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
    await around.performer.submit(submitted, {submitted.goal.sha256: goal.text})
    ended = await asyncio.wait_for(around.ended, 60)
    assert ended.outcome == "succeeded"
    return around
