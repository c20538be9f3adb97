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
from collections.abc import Mapping, Sequence
from functools import partial
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
from actors.tasks import Tasks
from actors.texts import Texts
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published
from familiar.config.load import config_hash
from familiar.config.schema import Config
from familiar.errors import Conflict, FailureClass, StaleEpoch
from familiar.event import Body, Draft, Event, RunCancelRequested, RunEnded
from familiar.goal import read_goal
from familiar.limits import RunLimits
from familiar.plan.load import PoolLoad
from familiar.plan.rates import CallRates
from familiar.run.machine import RunMachine
from familiar.run.upcast import limits_to_note, upcast
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
        self._outbox: list[Draft] = []
        self._recorder: Recorder | None = None
        self._tasks = Tasks()
        self._metrics = Metrics()
        self._rates = CallRates({name: alias.pool for name, alias in config.aliases.items()})
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
            machine = RunMachine(accepted.receipt.run_id)
            performer = Performer(machine, goal, self.config, self)
            self._performers[machine.state.run_id] = performer
            try:
                await self._recorded(performer, accepted.draft.body, accepted.draft.texts)
            except BaseException:
                self._performers.pop(machine.state.run_id, None)
                performer.stop()
                raise
        return accepted.receipt

    async def cancel(self, run_id: str, reason: str = "") -> str:
        """Ask an open run to end; returns its status. Raises `NotFound`."""
        await self._started
        performer = self._performers.get(run_id)
        if performer is not None and performer.machine.state.ended is None:
            await self._recorded(performer, RunCancelRequested(reason=reason), {})
            return "cancelling"
        return await self._intake.status(run_id)

    async def wait_beyond(self, run_id: str, seq: int, timeout_s: float) -> int:
        """The run's last committed seq, as soon as it is greater than `seq` or the time is over."""
        await self._started
        assert self._recorder is not None
        last = await self._recorder.wait_beyond(run_id, seq, min(timeout_s, 60.0))
        if last > seq and run_id in self._performers:
            # A follower of a fast run is not woken for each of its commits.
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
            return Readiness(False, (str(error),), hopeless=True)
        reasons = list(self._pools.reasons())
        assert self._recorder is not None
        if self._recorder.problem is not None:
            reasons.append(str(self._recorder.problem))
        lost = self._pools.used & self._pools.hopeless().keys()
        return Readiness(not reasons, tuple(reasons), hopeless=bool(reasons and lost))

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

    def commit(self, run_id: str, events: Sequence[Event], texts: Mapping[str, str]) -> None:
        self.texts.keep(texts)
        if not self._outbox:
            # What this turn of the event loop and the next one decide shares a transaction.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._send)
        held: dict[str, str] = dict(texts)
        for event in events:
            self._outbox.append(Draft(run_id, event.body, event.at, held, event.seq))
            held = {}

    def devices(self, replica: str) -> tuple[str, ...]:
        return self._pools.devices(replica)

    def load(self) -> PoolLoad:
        return self.dispatcher.load(self._rates.by_alias())

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
        await self._recover()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def _recover(self) -> None:
        """Fold the open runs and perform what is due in them."""
        for run_id in await asyncio.to_thread(self._store.open_runs):
            performer = await self._resume(run_id)
            if performer is not None:
                history = await asyncio.to_thread(self._history, run_id)
                performer.recover(limits_to_note(history, self._limits))

    async def _resume(self, run_id: str) -> Performer | None:
        """A performer at the end of an open run's history; None when the run is not open."""
        machine = await asyncio.to_thread(self._fold, run_id)
        if machine.state.ended is not None or machine.state.goal is None:
            return None
        text = await self.texts.get(machine.state.goal.sha256)
        goal = read_goal(text, max_bytes=1 << 40, files=machine.state.wanted)
        performer = Performer(machine, goal, self.config, self)
        self._performers[run_id] = performer
        return performer

    def _fold(self, run_id: str) -> RunMachine:
        machine = RunMachine(run_id)
        for event in upcast(self._history(run_id), self._limits):
            machine.apply(event)
            self._rates.see(event, machine.state.calls)
        return machine

    def _history(self, run_id: str) -> list[Event]:
        return list(self._store.events(run_id))

    async def _recorded(self, performer: Performer, body: Body, texts: Mapping[str, str]) -> None:
        """Have a performer record `body`, and wait until it is committed."""
        performer.record([body], texts)
        written = self._send()[performer.run_id]
        try:
            await written
        except StaleEpoch:
            await self._give_way()

    def _send(self) -> dict[str, asyncio.Future[list[Event]]]:
        """Hand the recorder what was decided since the last time, as one group for each run: a run
        whose event cannot be written must not hold up another."""
        drafts, self._outbox = self._outbox, []
        assert self._recorder is not None
        groups: dict[str, list[Draft]] = {}
        for draft in drafts:
            groups.setdefault(draft.run_id, []).append(draft)
        written = {run_id: self._recorder.submit(group) for run_id, group in groups.items()}
        for run_id, done in written.items():
            done.add_done_callback(partial(self._written, run_id))
        return written

    def _written(self, run_id: str, done: asyncio.Future[list[Event]]) -> None:
        """What the owner of a decision would have to hear: it could not be written, for good."""
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StaleEpoch):
            self._tasks.spawn(self._give_way())
        elif isinstance(error, Conflict):
            pass  # who submitted the run hears of it
        elif error is not None and run_id in self._performers:
            self.log.error("run %s: an event was not recorded: %s", run_id, error)
            self._performers.pop(run_id).stop()
            self._tasks.spawn(self._end_unrecorded(run_id, str(error)))

    async def _end_unrecorded(self, run_id: str, reason: str) -> None:
        """End a run whose decisions ran ahead of what can be written, by what is written of it."""
        performer = await self._resume(run_id)
        if performer is not None:
            failed = RunEnded(outcome="failed", reason=reason, failure_class=FailureClass.INTERNAL)
            performer.record([failed])

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
            self._rates.see(event, performer.machine.state.calls)
            if isinstance(event.body, RunEnded):
                del self._performers[event.run_id]

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
