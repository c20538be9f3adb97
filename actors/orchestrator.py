"""The orchestrator actor: every open run of a deployment, in one event loop.

It owns the recorder (events before effects), the dispatcher (who runs where), one performer a run,
and the supervisors of the replicas. It is named, detached and restarted by Ray: a new one takes the
next epoch, folds the open runs, asks replicas and workbenches what they still hold, and goes on.
What it never does is block: the database, git and Ray's blocking calls have threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import ray
from ray.exceptions import RayError

from actors.crash import CrashSpec, crasher
from actors.dispatcher import Dispatcher
from actors.intake import Intake
from actors.metrics import Metrics
from actors.performer import Performer
from actors.pools import Pools
from actors.recorder import Recorder
from actors.store.store import Store
from actors.texts import Texts
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published
from familiar.config.load import config_hash
from familiar.config.schema import Config
from familiar.errors import StaleEpoch
from familiar.event import Body, Draft, Event, RunCancelRequested, RunEnded
from familiar.goal import read_goal
from familiar.run.limits import RunLimits
from familiar.run.machine import RunMachine
from familiar.service import CallProgress, PoolView, Readiness, RunReceipt, SubmitRun

TICK_S = 0.5
COALESCE_S = 0.025
LEAVE_S = 5.0


class Orchestrator:
    """The actor. Its public coroutines are what `familiar.service` describes."""

    def __init__(self, config: Config, fingerprint: str) -> None:
        self.config = config
        self.epoch = 0
        self.log = logging.getLogger("familiar.orchestrator")
        self._fingerprint = fingerprint
        self._limits = RunLimits.of(config)
        self._performers: dict[str, Performer] = {}
        self._ending: set[str] = set()
        self._recorder: Recorder | None = None
        self._metrics = Metrics()
        self._started = asyncio.get_running_loop().create_task(self._start())

    # What the API asks for.

    async def submit(self, request: SubmitRun) -> RunReceipt:
        """Commit a run and begin with it. Raises `InputError`, `Conflict`, `NotFound`,
        `StoreError`."""
        await self._started
        goal = read_goal(
            request.goal, max_bytes=self.config.api.max_goal_bytes, files=request.files
        )
        accepted = await self._intake.accept(request, goal)
        if accepted.draft is not None:
            machine = RunMachine(accepted.receipt.run_id, self._limits)
            performer = Performer(machine, goal, self.config, self)
            self._performers[machine.state.run_id] = performer
            try:
                await self._commit([accepted.draft])
            except BaseException:
                self._performers.pop(machine.state.run_id, None)
                raise
        return accepted.receipt

    async def cancel(self, run_id: str, reason: str = "") -> str:
        """Ask an open run to end; returns its status. Raises `NotFound`."""
        await self._started
        if run_id in self._performers:
            await self._commit([Draft(run_id, RunCancelRequested(reason=reason), time.time())])
            return "cancelling"
        return await self._intake.status(run_id)

    async def wait_beyond(self, run_id: str, seq: int, timeout_s: float) -> int:
        """The run's last committed seq, as soon as it is greater than `seq` or the time is over."""
        await self._started
        assert self._recorder is not None
        last = await self._recorder.wait_beyond(run_id, seq, min(timeout_s, 60.0))
        if last == seq + 1 and run_id in self._performers:
            # A follower of a fast run should not be woken for each of its events.
            await asyncio.sleep(COALESCE_S)
            last = self._recorder.last_seq(run_id)
        return last

    async def pools(self) -> tuple[PoolView, ...]:
        await self._started
        return self._pools.views()

    async def progress(self, run_id: str) -> tuple[CallProgress, ...]:
        """Tokens so far of the run's calls in flight, at most a second old."""
        if run_id not in self._performers:
            return ()
        return await self._pools.progress(run_id)

    async def readiness(self) -> Readiness:
        if not self._started.done():
            return Readiness(False, ("The orchestrator is starting.",))
        if (error := self._started.exception()) is not None:
            return Readiness(False, (str(error),))
        reasons = list(self._pools.reasons())
        assert self._recorder is not None
        if self._recorder.problem is not None:
            reasons.append(str(self._recorder.problem))
        return Readiness(not reasons, tuple(reasons))

    async def fingerprint(self) -> str:
        return self._fingerprint

    async def pid(self) -> int:
        return os.getpid()

    async def leave(self, epoch: int) -> None:
        """End the actor of this epoch, not to be restarted. The name may lead to a successor of who
        asked, and that one stays."""
        if epoch == self.epoch:
            ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    async def close(self) -> None:
        """Stop taking part: open runs stay open in the database, replicas keep what they hold."""
        for performer in self._performers.values():
            performer.stop()
        await self._pools.close()
        if self._recorder is not None:
            await self._recorder.close()

    # What performers need (`actors.services.Services`).

    def record(self, run_id: str, bodies: Sequence[Body], texts: Mapping[str, str]) -> None:
        if run_id in self._ending:
            return
        if any(isinstance(body, RunEnded) for body in bodies):
            self._ending.add(run_id)
        at = time.time()
        drafts = [Draft(run_id, body, at) for body in bodies]
        drafts[0] = Draft(run_id, bodies[0], at, dict(texts))
        self._submit(drafts).add_done_callback(self._recorded)

    def devices(self, replica: str) -> tuple[str, ...]:
        return self._pools.devices(replica)

    async def holder(self, key: CallKey, replica: str) -> str | None:
        return await self._pools.holder(key, replica)

    async def carry_out(self, replica: str, order: CallOrder) -> CallOutcome:
        try:
            return await self._pools.carry_out(replica, order)
        except StaleEpoch:
            await self._give_way()

    def committed_outcome(self, replica: str, key: CallKey) -> None:
        self._pools.forget(replica, key)

    async def publish(self, publication: Publication) -> Published:
        try:
            return await self._pools.publish(publication)
        except StaleEpoch:
            await self._give_way()

    async def stop(self, replica: str, key: CallKey) -> None:
        await self._pools.cancel(replica, key)

    # Life.

    async def _start(self) -> None:
        config = self.config
        store = await asyncio.to_thread(open_store, config)
        self.epoch = await asyncio.to_thread(store.take_epoch)
        self.log.info("orchestrator of %s has epoch %d", config.deployment, self.epoch)
        strike = crasher(CrashSpec.from_environment(os.environ), "orchestrator")
        self._recorder = Recorder(
            store,
            self.epoch,
            log_path=log_path(config),
            on_commit=self._committed,
            crash=lambda point, _: strike(point),
        )
        self._store = store
        self.texts = Texts(store.text)
        self.dispatcher = Dispatcher(config)
        self._intake = Intake(config, config_hash(config), store)
        self._pools = Pools(config, self.epoch, self.dispatcher)
        await self._pools.open()
        await self._recover(store)
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def _recover(self, store: Store) -> None:
        """Fold the open runs and perform what is due in them."""
        for run_id in await asyncio.to_thread(store.open_runs):
            machine = await asyncio.to_thread(self._fold, store, run_id)
            if machine.state.ended is not None or machine.state.goal is None:
                continue
            text = await self.texts.get(machine.state.goal.sha256)
            goal = read_goal(text, max_bytes=1 << 40, files=machine.state.wanted)
            performer = Performer(machine, goal, self.config, self)
            self._performers[run_id] = performer
            performer.recover()

    def _fold(self, store: Store, run_id: str) -> RunMachine:
        machine = RunMachine(run_id, self._limits)
        for event in store.events(run_id):
            machine.apply(event)
        return machine

    async def _commit(self, drafts: Sequence[Draft]) -> None:
        try:
            await self._submit(drafts)
        except StaleEpoch:
            await self._give_way()

    def _submit(self, drafts: Sequence[Draft]) -> asyncio.Future[list[Event]]:
        assert self._recorder is not None
        for draft in drafts:
            self.texts.keep(draft.texts)
        return self._recorder.submit(drafts)

    def _recorded(self, done: asyncio.Future[list[Event]]) -> None:
        """What the owner of a decision would have to hear: it could not be written, for good."""
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StaleEpoch):
            self._leaving = asyncio.get_running_loop().create_task(self._give_way())
        elif error is not None:
            self.log.error("an event was not recorded: %s", error)

    async def _give_way(self) -> NoReturn:
        """End for good: were Ray to start this actor again, it would take the epoch back."""
        self.log.error("a newer orchestrator owns this deployment; this one exits")
        with contextlib.suppress(RayError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await ray.get_runtime_context().current_actor.leave.remote(self.epoch)
        os._exit(3)

    def _committed(self, events: Sequence[Event]) -> None:
        for event in events:
            performer = self._performers.get(event.run_id)
            if performer is None:
                continue
            performer.committed(event)
            self._metrics.see(event, performer.machine.state.calls)
            if isinstance(event.body, RunEnded):
                del self._performers[event.run_id]
                self._ending.discard(event.run_id)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.dispatcher.expire(self._pools.hopeless())
            self._metrics.hand_over()


def open_store(config: Config) -> Store:
    """Open the deployment's database; a first start creates it and notes its id beside the
    workspaces.

    Raises `StoreError` when the database that was noted is gone or is another one: going on with an
    empty one would silently forget every run.
    """
    note = log_path(config).with_name("store.id")
    expected = note.read_text().strip() if note.exists() else None
    store = Store.open(config.store.url, create=expected is None, expected_id=expected)
    if expected is None:
        note.write_text(store.store_id + "\n")
    return store


def log_path(config: Config) -> Path:
    """`orchestra.log` stands beside the workspaces."""
    root = Path(config.workspace.root).expanduser()
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
    return root / "orchestra.log"
