"""Perform one run's commands and feed back the events that answer them.

The machine chooses; this module waits, calls models, writes files and records what came of it. An
event is folded the moment it is recorded, so that the decisions which follow from it (the next
call's prompt and route) are committed in the same transaction. What reaches beyond this process
waits: a replica, a workbench or a file hears of a command only after the event that caused it, and
every event before that one, is committed (`committed`). A crash in between loses decisions that
nobody has heard of. Nothing here survives a crash and nothing has to: `recover` after a fold
performs what is due, once more, and every performer of work is keyed by (run, call, attempt).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from actors.briefer import Briefer
from actors.order import call_order, mode_of
from actors.outcome import terminal_event
from actors.tasks import Tasks
from familiar import event as ev
from familiar.brief import Brief
from familiar.call import CallKey, CallOrder, Publication
from familiar.config.schema import Config
from familiar.errors import CallError, FailureClass, FamiliarError, StaleEpoch
from familiar.goal import Goal
from familiar.plan.judge import judge_plan
from familiar.plan.rank import upward_ranks
from familiar.plan.read import PlanWire
from familiar.plan.rules import decide_by_rules
from familiar.plan.view import TurnView, view_turn
from familiar.run import command as cmd
from familiar.run import synthesis
from familiar.run.machine import RunMachine
from familiar.run.state import CallState
from familiar.scheduling import Waiting
from familiar.wire import wire_suffix

if TYPE_CHECKING:
    from actors.services import Services


Committed = asyncio.Future[None] | None


@dataclass(frozen=True, slots=True)
class _Try:
    """A try that is prepared: what the model is asked, and how the answer is treated."""

    brief: Brief
    queued_at: float


class Performer:
    """One open run."""

    def __init__(self, machine: RunMachine, goal: Goal, config: Config, services: Services) -> None:
        self.machine = machine
        self.goal = goal
        self.config = config
        self._services = services
        self._briefer = Briefer(config, goal, services.texts, services.load)
        self._tries: dict[CallKey, _Try] = {}
        # By try, not by call: a call may be with its next replica before this is committed.
        self._carried: dict[CallKey, str] = {}
        self._tasks = Tasks()
        self._stopping = Tasks()
        self._ranks: dict[str, int] = {}
        self._recovering = False
        self._held_back: deque[tuple[int, Callable[[], None]]] = deque()
        self._unfolded: deque[ev.Event] = deque()
        self._folding = False

    @property
    def run_id(self) -> str:
        return self.machine.state.run_id

    def recover(self, first: ev.Body | None = None) -> None:
        """After a fold of what is committed: record `first`, then perform everything that is due,
        once more."""
        self._recovering = True
        known = self.machine.state.seq
        if first is not None:
            self.record([first])
        self._perform_all(list(self.machine.state.due.values()))
        self._let_go(known)
        self._recovering = False
        self._tasks.spawn(self._watch_wall())

    def record(self, bodies: Sequence[ev.Body], texts: Mapping[str, str] | None = None) -> None:
        """Have events committed, fold them, and prepare what they make due. Nothing follows the end
        of a run."""
        state = self.machine.state
        if state.ended is not None or not bodies:
            return
        at = time.time()
        events = [
            ev.Event(state.run_id, state.seq + len(self._unfolded) + n, self._services.epoch, at, b)
            for n, b in enumerate(bodies, start=1)
        ]
        self._unfolded.extend(events)
        self._services.commit(self.run_id, events, texts or {})
        if self._folding:
            return  # the loop below is at work further up the stack
        self._folding = True
        try:
            while self._unfolded:
                commands = self.machine.apply(self._unfolded.popleft())
                self._perform_all(commands)
        finally:
            self._folding = False

    def committed(self, event: ev.Event) -> None:
        """Let go what was held back until `event` was committed."""
        self._let_go(event.seq)
        body = event.body
        if isinstance(body, ev.CallSucceeded | ev.CallFailed):
            key = CallKey(self.run_id, body.call, body.attempt)
            if (replica := self._carried.pop(key, None)) is not None:
                self._services.committed_outcome(replica, key)
        elif isinstance(body, ev.RunSubmitted):
            self._tasks.spawn(self._watch_wall())
        elif isinstance(body, ev.RunEnded):
            self.stop()

    def stop(self) -> None:
        """Drop what is still waited for; what runs elsewhere has been told to stop."""
        self._tasks.cancel()

    def _let_go(self, committed: int) -> None:
        """Go on with what waited for the commit of event `committed`, or of one before it."""
        while self._held_back and self._held_back[0][0] <= committed:
            self._held_back.popleft()[1]()

    def _perform_all(self, commands: Iterable[cmd.Command]) -> None:
        """Prepare decisions at once; hold back what has an effect outside of this process."""
        bodies: list[ev.Body] = []
        for command in commands:
            if isinstance(command, cmd.Record):
                bodies.append(command.body)
            elif isinstance(command, cmd.Publish | cmd.Stop):
                self._hold_back(partial(self._start, command, self._recovering))
            else:
                self._start(command, self._recovering)
        if bodies:
            self.record(bodies)

    def _hold_back(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when everything that is decided by now is committed."""
        self._held_back.append((self.machine.state.seq, go_on))

    def _all_committed(self) -> asyncio.Future[None]:
        """Done when everything that is decided by now is committed."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hold_back(partial(_resolve, committed))
        return committed

    def _start(self, command: cmd.Command, recovering: bool) -> None:
        if isinstance(command, cmd.Stop):
            self._stopping.spawn(self._stop(command))
            return
        # Its order is built while the disk is at work, and sent when that is done.
        committed = self._all_committed() if isinstance(command, cmd.Carry) else None
        self._tasks.spawn(self._guarded(command, recovering, committed))

    def _record(self, body: ev.Body, texts: dict[str, str] | None = None) -> None:
        self.record([body], texts)

    # Commands.

    async def _guarded(self, command: cmd.Command, recovering: bool, committed: Committed) -> None:
        """The run boundary: whatever goes wrong becomes an event with a class and a sentence."""
        try:
            await self._perform(command, recovering, committed)
        except (asyncio.CancelledError, StaleEpoch):
            raise
        except Exception as error:
            self._services.log.exception("run %s: %s", self.run_id, command)
            known = error.failure_class if isinstance(error, CallError) else FailureClass.INTERNAL
            message = str(error) if isinstance(error, FamiliarError) else repr(error)
            if isinstance(command, cmd.Dispatch | cmd.Carry | cmd.Publish):
                evidence = dict(error.evidence) if isinstance(error, CallError) else {}
                self._fail(command, known, message, evidence)
            else:
                self._record(ev.RunEnded(outcome="failed", reason=message, failure_class=known))

    async def _perform(self, command: cmd.Command, recovering: bool, committed: Committed) -> None:
        match command:
            case cmd.Dispatch():
                await self._dispatch(command)
            case cmd.Carry():
                await self._carry(command, recovering, committed)
            case cmd.JudgePlan():
                await self._judge(command)
            case cmd.PlanByRules():
                view = self._view()
                self._record(decide_by_rules(view, "the model has no valid plan"))
            case cmd.Synthesize():
                await self._synthesize(command)
            case cmd.Publish():
                await self._publish(command)

    async def _stop(self, command: cmd.Stop) -> None:
        key = CallKey(self.run_id, command.call, command.attempt)
        await self._services.stop(command.replica, key)
        self._services.dispatcher.release(key)

    async def _dispatch(self, command: cmd.Dispatch) -> None:
        call = self.machine.state.calls[command.call]
        key = CallKey(self.run_id, call.id, command.attempt)
        alias = call.planned.alias
        queued_at = time.time()
        brief = await self._brief(call)
        waiting = Waiting(
            key=key,
            alias=alias,
            queued_at=queued_at,
            rank=self._rank(call),
            avoid=frozenset(call.avoid),
            home=self._home(call),
        )
        slot = await self._services.dispatcher.slot(waiting)
        if self.machine.state.ended is not None:
            self._services.dispatcher.release(key)
            return
        self._tries[key] = _Try(brief, queued_at)
        prompt_json = brief.prompt_json
        prompt = ev.text_ref(prompt_json)
        body = ev.CallDispatched(
            call=call.id,
            attempt=command.attempt,
            kind=call.kind,
            turn=call.turn,
            alias=alias,
            mode=mode_of(call),
            pool=self.config.aliases[alias].pool,
            replica=slot.replica,
            devices=self._services.devices(slot.replica),
            queued_at=queued_at,
            prompt=prompt,
            prompt_name=brief.prompt_name,
            prompt_version=brief.prompt_version,
            grammar=brief.grammar_name,
            output_file=call.planned.output_file,
            reasons=slot.reasons,
            continues=call.follow_up.text if call.follow_up and brief.continue_final else None,
        )
        before = () if brief.compaction is None else (brief.compaction,)
        self.record((*before, body), {prompt.sha256: prompt_json})

    async def _carry(self, command: cmd.Carry, recovering: bool, committed: Committed) -> None:
        call = self.machine.state.calls[command.call]
        key = CallKey(self.run_id, call.id, command.attempt)
        replica = call.replica or ""
        self._carried[key] = replica
        if recovering:
            self._services.dispatcher.occupy(key, call.planned.alias, replica)
            holder = await self._services.holder(key, replica)
            if holder is not None:
                self._record(ev.CallAdopted(call=call.id, attempt=command.attempt, holder=holder))
        order = await self._order(call, key)
        if committed is not None:
            await committed
        outcome = await self._services.carry_out(replica, order)
        self._tries.pop(key, None)
        self._services.dispatcher.release(key)
        self._record(*terminal_event(outcome, call.kind))

    async def _judge(self, command: cmd.JudgePlan) -> None:
        call = self.machine.state.calls[command.call]
        assert call.raw is not None
        answer = await self._services.texts.get(call.raw.sha256)
        view = self._view()
        wire = self.config.aliases[call.planned.alias].wire
        body = await asyncio.to_thread(
            judge_plan,
            answer,
            view,
            command.attempt,
            wire=PlanWire(wire, wire_suffix(self.run_id, command.turn)),
            finish_reason=call.finish_reason,
        )
        self._record(body)

    async def _synthesize(self, command: cmd.Synthesize) -> None:
        state, texts = self.machine.state, self._services.texts
        call = None if command.call is None else state.calls[command.call]
        said = None
        if call is not None and call.text is not None:
            said = await texts.get(call.text.sha256)
        before = state.syntheses[-1] if state.syntheses else None
        made = await asyncio.to_thread(
            synthesis.versions,
            synthesis.candidates(state, command, said),
            command,
            synthesis.inputs(state),
            last=before.version if before else 0,
            last_text=await texts.get(before.text.sha256) if before else None,
        )
        kept = {sha256: text for version in made for sha256, text in version.texts.items()}
        self.record([version.body for version in made], kept)

    async def _publish(self, command: cmd.Publish) -> None:
        call = self.machine.state.calls[command.call]
        path = call.planned.output_file
        assert path is not None
        assert call.text is not None
        publication = Publication(
            key=CallKey(self.run_id, call.id, command.attempt),
            epoch=self._services.epoch,
            workspace=self.machine.state.workspace,
            path=path,
            sha256=call.text.sha256,
            text=await self._services.texts.get(call.text.sha256),
            alias=call.planned.alias,
        )
        published = await self._services.publish(publication)
        self._record(
            ev.FilePublished(
                call=call.id,
                attempt=command.attempt,
                path=path,
                sha256=call.text.sha256,
                size=published.bytes,
                commit=published.commit,
            )
        )

    def _fail(
        self,
        command: cmd.Dispatch | cmd.Carry | cmd.Publish,
        failure_class: FailureClass,
        message: str,
        evidence: dict[str, object],
    ) -> None:
        call = self.machine.state.calls[command.call]
        self._services.dispatcher.release(CallKey(self.run_id, call.id, command.attempt))
        failed = {"failure_class": failure_class, "message": message, "evidence": evidence}
        self._record(
            ev.CallFailed.model_validate(
                {
                    "call": call.id,
                    "attempt": command.attempt,
                    "kind": call.kind,
                    "failure": failed,
                }
            )
        )

    async def _watch_wall(self) -> None:
        """Say when the soft share of the wall time is over, and when all of it is."""
        start, budgets = self.machine.state.submitted_at, self.machine.limits
        for share, soft in ((budgets.soft, True), (1.0, False)):
            await asyncio.sleep(max(0.0, start + share * budgets.wall_s - time.time()))
            body = self.machine.wall_reached(round(time.time() - start, 3), soft=soft)
            if body is not None:
                self._record(body)

    # What a call needs.

    def _view(self) -> TurnView:
        return view_turn(self.config, self.machine.state, self.goal, self._services.load())

    async def _brief(self, call: CallState) -> Brief:
        return await self._briefer.brief(call, self.machine.state)

    async def _order(self, call: CallState, key: CallKey) -> CallOrder:
        """The order of a dispatched try; after a restart it is built again from what was
        recorded."""
        prepared = self._tries.get(key)
        brief = prepared.brief if prepared is not None else await self._brief(call)
        if prepared is None and call.prompt is not None:
            brief = brief.with_prompt(await self._services.texts.get(call.prompt.sha256))
        state = self.machine.state
        return call_order(call, key, brief, self.config, state.workspace, self._services.epoch)

    def _rank(self, call: CallState) -> int:
        if call.kind != "worker":
            return 1_000
        if call.id not in self._ranks:
            calls = self.machine.state.calls.values()
            self._ranks = upward_ranks([c.planned for c in calls if c.kind == "worker"])
        return self._ranks[call.id]

    def _home(self, call: CallState) -> str | None:
        """The replica that served this run's plan before has the stack in its prefix cache."""
        if call.kind == "worker":
            return None
        served = [c.replica for c in self.machine.state.calls.values() if c.kind == "plan"]
        return next((replica for replica in reversed(served) if replica), None)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
