"""The orchestrator actor: every open run of a deployment, in one event loop.

It owns the recorder (events before effects), the dispatcher (which call runs where), one performer
a run, and the supervisors of the replicas. It is named, detached and restarted by Ray: a new one
takes the next epoch, folds the open runs, asks the replicas for the attempts that they still hold,
and goes on. It never blocks: the database, git and Ray's blocking calls have threads.

Every open run of the database has a performer here. That is looked for all the time (`_take_up`): a
run without one is folded and taken up, and counted, because it should never happen.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import ray

from actors.orchestrator.dispatcher import Dispatcher
from actors.orchestrator.intake import Intake
from actors.orchestrator.metrics import Metrics
from actors.orchestrator.ownership import Ownership, log_path, open_store
from actors.orchestrator.performer import Performer
from actors.orchestrator.recorder import Recorder
from actors.orchestrator.texts import Texts
from actors.replica.pools import Pools
from actors.take_down import end_actors
from actors.tasks import Tasks
from actors.users import until_unused, users
from actors.workspace.client import WorkspaceClient
from cluster.named_actor import unpack
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published
from familiar.config.load import config_hash
from familiar.errors import (
    CallError,
    Conflict,
    FailureClass,
    FamiliarError,
    StaleEpoch,
)
from familiar.event import Body, Draft, Event, RunCancelRequested, RunEnded, RunSubmitted
from familiar.goal import Goal, read_goal
from familiar.limits import RunLimits
from familiar.plan.view import PoolLoad
from familiar.run.machine import RunMachine
from familiar.run.rates import CallRates
from familiar.run.upcast import limits_to_note, upcast
from familiar.service import CallProgress, PoolView, Readiness, RunReceipt, SubmitRun, namespace_of

T = TypeVar("T")
TICK_S = 0.5
TAKE_UP_S = 3.0
"""How often every open run is looked for among the performers."""
COALESCE_S = 0.025


class Orchestrator:
    """The actor. Its public coroutines are what `familiar.service` describes."""

    def __init__(
        self, fingerprint: str, predecessor: str, shared: bool, *packed_config: bytes
    ) -> None:
        """`predecessor` is the id of the actor that Ray ended for this one, or ""; a `shared`
        deployment ends with its last user; `cluster.named_actor.pack` made `packed_config`."""
        self.config = config = unpack(packed_config)
        self.epoch = 0
        self.log = logging.getLogger("familiar.orchestrator")
        self._fingerprint = fingerprint
        self._namespace = namespace_of(config.deployment)
        self._leaving: set[str] = set()
        self._ending = asyncio.Lock()
        self._ownership = Ownership(self._actor_id(), predecessor)
        self._limits = RunLimits.of(config)
        self._performers: dict[str, Performer] = {}
        self._beginning: set[str] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._recorder: Recorder | None = None
        self._tasks = Tasks()
        self._metrics = Metrics()
        self._rates = CallRates({name: alias.pool for name, alias in config.aliases.items()})
        loop = asyncio.get_running_loop()
        self._started = loop.create_task(self._start())
        self._watched = loop.create_task(self._end_when_unused()) if shared else None

    # What the API asks for.

    async def submit(self, request: SubmitRun) -> RunReceipt:
        """Commit a run and begin with it. Raises `InputError`, `Conflict`, `NotFound`,
        `StoreError`."""
        await self._up()
        assert self._recorder is not None
        goal = read_goal(
            request.goal, max_bytes=self.config.api.max_goal_bytes, files=request.files
        )
        if self._recorder.problem is not None or self._ownership.problem is not None:
            await asyncio.to_thread(self._store.check)
        # Two submissions to one session, or with one key, take turns: the second one sees the run
        # of the first.
        name = request.session_id or request.idempotency_key or ""
        turn = self._turns.setdefault(name, asyncio.Lock()) if name else asyncio.Lock()
        await turn.acquire()
        try:
            accepted = await self._intake.accept(request, goal)
            if accepted.draft is not None:
                await self._check_workspace(request, accepted.draft.body, goal)
        except BaseException:
            turn.release()
            raise
        if accepted.draft is None:
            turn.release()
            return accepted.receipt
        machine = RunMachine(accepted.receipt.run_id)
        performer = Performer(machine, goal, self.config, self)
        # Nothing that a client does from here on undoes the run.
        begun = self._tasks.spawn(self._begin(performer, accepted.draft))
        begun.add_done_callback(lambda _: turn.release())
        await asyncio.shield(begun)
        return accepted.receipt

    async def _check_workspace(self, request: SubmitRun, submitted: Body, goal: Goal) -> None:
        """Raise `Conflict` when the files that the goal names cannot be written where they have to
        go, before a model is asked. A new session's own workspace has nothing in the way."""
        assert isinstance(submitted, RunSubmitted)
        if self.config.workspace.repository is None and request.session_id is None:
            return
        try:
            found = await self._workspace.unwritable(submitted.workspace, goal.files, patient=False)
        except CallError as error:
            raise Conflict(error.message, field="workspace", remedy=error.remedy) from None
        if found:
            raise Conflict(" ".join(found.values()), field="goal")

    async def _begin(self, performer: Performer, draft: Draft) -> None:
        run_id = performer.run_id
        self._performers[run_id] = performer
        self._beginning.add(run_id)
        try:
            await performer.submit(draft.body, draft.texts)
        except BaseException:
            self._performers.pop(run_id, None)
            performer.stop()
            raise
        finally:
            self._beginning.discard(run_id)

    async def cancel(self, run_id: str, reason: str = "") -> str:
        """Ask an open run to end; returns its status. Raises `NotFound`."""
        await self._up()
        performer = self._performers.get(run_id)
        if performer is not None and performer.machine.state.ended is None:
            await performer.submit(RunCancelRequested(reason=reason), {})
            return "cancelling"
        return await self._intake.status(run_id)

    async def wait_beyond(self, run_id: str, seq: int, timeout_s: float) -> int:
        """The run's last committed seq, as soon as it is greater than `seq` or the time is over."""
        await self._up()
        assert self._recorder is not None
        last = await self._recorder.wait_beyond(run_id, seq, min(timeout_s, 60.0))
        if last > seq and run_id in self._performers:
            # A follower of a fast run is not woken for each of its commits.
            await asyncio.sleep(COALESCE_S)
            last = await self._recorder.last_seq(run_id)
        return last

    async def pools(self) -> tuple[PoolView, ...]:
        await self._up()
        return self._pools.views()

    async def progress(self, run_id: str) -> tuple[CallProgress, ...]:
        """Tokens so far of the run's calls in flight, at most a second old."""
        if run_id not in self._performers:
            return ()
        return await self._pools.progress(run_id)

    async def readiness(self) -> Readiness:
        if not self._started.done():
            owned = self._ownership.other
            reason = "The orchestrator is starting." if owned is None else str(owned)
            fenced = self._ownership.fenced
            return Readiness(False, (reason,), hopeless=fenced, fenced=fenced)
        if (error := self._started.exception()) is not None:
            return Readiness(False, (str(error),), hopeless=True)
        reasons = list(self._pools.reasons())
        assert self._recorder is not None
        problem = self._recorder.problem or self._ownership.problem
        if problem is not None:
            reasons.append(f"{problem} {problem.remedy}".strip())
        lost = self._pools.used & self._pools.hopeless().keys()
        if not reasons:
            return Readiness(True, tuple(self._pools.warnings()))
        return Readiness(False, tuple(reasons), hopeless=bool(lost))

    async def fingerprint(self) -> str:
        """An orchestrator that is ending is the right one for nobody."""
        return "" if self._ending.locked() else self._fingerprint

    async def pid(self) -> int:
        return os.getpid()

    async def end_unused(self, leaving: Sequence[str] = ()) -> bool:
        """End the whole deployment, unless it has users besides those that are leaving: False. At
        the end this actor is gone, so nothing is answered then."""
        self._leaving.update(leaving)
        async with self._ending:
            if await asyncio.to_thread(users, self._namespace) - self._leaving:
                return False
            self.log.info("deployment %s has no user left and ends", self.config.deployment)
            await self.close()
            await asyncio.to_thread(end_actors, self.config.deployment)
            ray.kill(ray.get_runtime_context().current_actor, no_restart=True)
            return True

    async def close(self) -> None:
        """Stop taking part: open runs stay open in the database, replicas keep what they hold."""
        self._started.cancel()
        await asyncio.wait({self._started})
        for performer in self._performers.values():
            performer.stop()
        if self._recorder is None:  # the database is another one's
            return
        await self._pools.close()
        await self._tasks.close()
        await self._recorder.close()
        await self._ownership.release()

    # What performers need.

    async def record(self, drafts: Sequence[Draft]) -> list[Event]:
        """Commit drafts of one run, in this order. Raises `StoreError` when they can never be
        written; does not return when a newer orchestrator has taken over."""
        assert self._recorder is not None
        return await self._or_give_way(self._recorder.record(drafts))

    def recorded(self, event: Event) -> None:
        performer = self._performers.get(event.run_id)
        if performer is None:
            return
        calls = performer.machine.state.calls
        self._metrics.see(event, calls)
        self._rates.see(event, calls)
        if isinstance(event.body, RunEnded):
            del self._performers[event.run_id]

    def devices(self, replica: str) -> tuple[str, ...]:
        return self._pools.devices(replica)

    def load(self) -> PoolLoad:
        return self.dispatcher.load(self._rates.by_alias())

    async def holder(self, key: CallKey, replica: str) -> str | None:
        return await self._pools.holder(key, replica)

    async def attempt(self, replica: str, order: CallOrder) -> CallOutcome:
        return await self._or_give_way(self._pools.attempt(replica, order))

    def committed_outcome(self, replica: str, key: CallKey) -> None:
        self._pools.forget(replica, key)

    async def unwritable(self, root: str, paths: Sequence[str]) -> dict[str, str]:
        return await self._or_give_way(self._workspace.unwritable(root, paths))

    async def publish(self, publication: Publication) -> Published:
        return await self._or_give_way(self._workspace.publish(publication))

    async def stop(self, replica: str, key: CallKey) -> None:
        await self._pools.cancel(replica, key)

    # Life.

    def _actor_id(self) -> str:
        return ray.get_runtime_context().get_actor_id() or ""

    async def _start(self) -> None:
        config = self.config
        store = await asyncio.to_thread(open_store, config)
        self.epoch = await self._ownership.take(store)
        self.log.info("orchestrator of %s has epoch %d", config.deployment, self.epoch)
        self._recorder = Recorder(store, self.epoch, log_path=log_path(config))
        self._store = store
        self.texts = Texts(store.text)
        self.dispatcher = Dispatcher(config)
        self._intake = Intake(config, config_hash(config), store)
        self._pools = Pools(config, self.epoch, self.dispatcher)
        root = log_path(config).parent
        self._workspace = WorkspaceClient(self._namespace, root, self.epoch)
        await self._workspace.open()
        await self._pools.open()
        # What is loaded by now stays. A full collection that looks through it stops the loop.
        gc.freeze()
        await self._recover()
        self._tasks.spawn(self._or_give_way(self._ownership.keep()))
        self._tasks.spawn(self._tick())
        self._tasks.spawn(self._take_up())

    async def _up(self) -> None:
        """Wait until this orchestrator has started. Raises `OwnedElsewhere` while another one owns
        the database. A caller that goes away does not end the start."""
        if self._ownership.fenced and self._ownership.other is not None:
            raise self._ownership.other
        await asyncio.shield(self._started)

    async def _end_when_unused(self) -> None:
        """Users that were killed have not asked for it."""
        while True:
            await until_unused(self._namespace)
            await self.end_unused()

    async def _recover(self) -> None:
        """Fold the open runs and perform the commands that are due in them."""
        for run_id in await asyncio.to_thread(self._store.open_runs):
            await self._resume(run_id)

    async def _resume(self, run_id: str) -> None:
        """Go on with an open run from the end of its history. One that cannot be folded ends, with
        the reason, and holds up no other."""
        try:
            history = await asyncio.to_thread(lambda: list(self._store.events(run_id)))
            machine = await asyncio.to_thread(self._fold, run_id, history)
            state = machine.state
            if state.ended is not None or state.goal is None:
                return
            text = await self.texts.get(state.goal.sha256)
            goal = read_goal(text, max_bytes=1 << 40, files=state.wanted)
        except Exception as error:
            self.log.exception("run %s cannot be folded", run_id)
            reason = f"The history of the run cannot be folded: {type(error).__name__}: {error}"
            failed = RunEnded(outcome="failed", reason=reason, failure_class=FailureClass.INTERNAL)
            await self.record([Draft(run_id, failed, time.time())])
            return
        performer = Performer(machine, goal, self.config, self)
        self._performers[run_id] = performer
        performer.recover(limits_to_note(history, self._limits))

    def _fold(self, run_id: str, history: Sequence[Event]) -> RunMachine:
        machine = RunMachine(run_id)
        for event in upcast(history, self._limits):
            machine.apply(event)
            self._rates.see(event, machine.state.calls)
        return machine

    async def _take_up(self) -> None:
        """Every open run has a performer, and every command that is due has a task."""
        while True:
            await asyncio.sleep(TAKE_UP_S)
            try:
                known = set(self._performers)
                open_runs = await asyncio.to_thread(self._store.open_runs)
                for run_id in set(open_runs) - known - set(self._performers):
                    self.log.error("run %s was open and nobody worked on it; taken up", run_id)
                    self._metrics.taken_up("run")
                    await self._resume(run_id)
                for performer in list(self._performers.values()):
                    if performer.run_id not in self._beginning and (left := performer.take_up()):
                        self.log.error("run %s: %d commands taken up", performer.run_id, left)
                        self._metrics.taken_up("call")
            except FamiliarError as error:
                self.log.warning("open runs could not be looked for: %s", error)

    async def _or_give_way(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result; where another orchestrator took the database, stop at once. Ray starts this
        actor again, and it waits until the other one has gone."""
        try:
            return await work
        except StaleEpoch:
            self.log.error("another orchestrator took the database; this one stops")
            os._exit(3)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.dispatcher.expire(self._pools.hopeless())
            self._metrics.hand_over()
