"""Perform one run's commands and feed back the events that answer them.

The machine chooses; this module waits, calls models, has files written and hands the results to
the run's journal (`journal`), which commits and folds them and gives back the next commands.

Nothing here survives a crash and nothing has to: `recover` after a fold performs what is due, once
more, and all work is keyed by (run, call, attempt).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from actors.orchestrator.attempt import (
    call_order,
    mode_of,
    terminal_event,
    with_former_aliases,
)
from actors.orchestrator.briefer import Briefer
from actors.orchestrator.journal import Input, Journal
from actors.tasks import Tasks
from familiar import event as ev
from familiar.brief import Brief
from familiar.call import CallKey, CallOrder, Publication
from familiar.config.schema import Config
from familiar.errors import CallError, FailureClass, FamiliarError, StaleEpoch
from familiar.goal import Goal
from familiar.plan.dag import dag
from familiar.plan.judge import judge_plan, reject_paths
from familiar.plan.read import PlanWire
from familiar.plan.rules import decide_by_rules
from familiar.plan.view import TurnView
from familiar.run import command as cmd
from familiar.run import synthesis
from familiar.run.machine import RunMachine
from familiar.run.state import CallState
from familiar.run.turn_view import view_turn
from familiar.scheduling import Waiting
from familiar.wire import wire_suffix

if TYPE_CHECKING:
    from actors.orchestrator.actor import Orchestrator


class Performer:
    """One open run. Of the orchestrator (`services`) it uses the part that is marked so there."""

    def __init__(
        self, machine: RunMachine, goal: Goal, config: Config, services: Orchestrator
    ) -> None:
        self.machine = machine
        self.goal = goal
        self.config = config
        self._services = services
        self._briefer = Briefer(config, goal, services.texts, services.load)
        self._briefs: dict[CallKey, Brief] = {}
        self._sent: dict[CallKey, str] = {}
        self._journal = Journal(machine, self, services.record, services.log)
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()
        self._stopping = Tasks()
        self._ranks: dict[str, int] = {}

    @property
    def run_id(self) -> str:
        return self.machine.state.run_id

    def recover(self, first: ev.Body | None = None) -> None:
        """After a fold of the committed history: record `first`, then perform every command that
        is due, once more."""
        self.config = with_former_aliases(self.config, self.machine.state)
        self._briefer = Briefer(self.config, self.goal, self._services.texts, self._services.load)
        due = list(self.machine.state.due.values())
        if first is not None:
            self._take(Input([first]))
        self._perform_all(due, recovering=True)
        self._tasks.spawn(self._watch_wall())

    def take_up(self) -> int:
        """Begin every command that is due and has no task; how many those were. No way to such a
        command is known. They are looked for all the time, because a run must never stand still."""
        if not self._journal.idle:
            return 0
        left = [
            command
            for name, command in self.machine.state.due.items()
            if isinstance(command, cmd.Record) or name not in self._doing
        ]
        self._perform_all(left, recovering=True)
        return len(left)

    async def submit(self, body: ev.Body, texts: Mapping[str, str]) -> None:
        """Record a fact that comes from outside, and return when it is committed and folded. It
        stays recorded when the caller goes away. Raises `StoreError`, `Conflict`."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take(Input([body], texts, written=written))
        await asyncio.shield(written)

    def stop(self) -> None:
        """Cancel the tasks that wait; attempts that run elsewhere have been told to stop."""
        self._tasks.cancel()

    # What the journal tells.

    def folded(self, event: ev.Event, commands: Sequence[cmd.Command]) -> None:
        """A committed event is folded; `commands` are due now."""
        body = event.body
        self._release(body)
        if isinstance(body, ev.RunSubmitted):
            self._tasks.spawn(self._watch_wall())
        elif isinstance(body, ev.RunEnded):
            self.stop()
        self._services.recorded(event)
        self._perform_all(commands)

    def dropped(self, body: ev.Body) -> None:
        """A prepared event will not be written."""
        if isinstance(body, ev.CallDispatched):
            self._services.dispatcher.release(CallKey(self.run_id, body.call, body.attempt))
        self._release(body)

    def _take(self, wanted: Input) -> None:
        self._services.texts.keep(wanted.texts)
        self._journal.take(wanted)

    def _release(self, body: ev.Body) -> None:
        """An outcome is committed, or not wanted any more: its replica may forget it."""
        if isinstance(body, ev.CallSucceeded | ev.CallFailed):
            key = CallKey(self.run_id, body.call, body.attempt)
            if (replica := self._sent.pop(key, None)) is not None:
                self._services.committed_outcome(replica, key)

    def _perform_all(self, commands: Iterable[cmd.Command], *, recovering: bool = False) -> None:
        for command in commands:
            if isinstance(command, cmd.Record):
                self._take(Input([command.body], answers=command))
            elif isinstance(command, cmd.Stop):
                self._stopping.spawn(self._stop(command))
            else:
                task = self._tasks.spawn(self._guarded(command, recovering))
                self._doing[command.due] = task
                task.add_done_callback(partial(self._done, command.due))

    def _done(self, due: str, task: asyncio.Task[None]) -> None:
        if self._doing.get(due) is task:
            del self._doing[due]

    # Commands.

    async def _guarded(self, command: cmd.Command, recovering: bool) -> None:
        """The run boundary: whatever goes wrong becomes an event with a class and a sentence."""
        try:
            self._take(await self._perform(command, recovering))
        except (asyncio.CancelledError, StaleEpoch):
            raise
        except Exception as error:
            self._services.log.exception("run %s: %s", self.run_id, command)
            known = error.failure_class if isinstance(error, CallError) else FailureClass.INTERNAL
            message = str(error) if isinstance(error, FamiliarError) else repr(error)
            if isinstance(command, cmd.Dispatch | cmd.Carry | cmd.Publish):
                evidence = dict(error.evidence) if isinstance(error, CallError) else {}
                self._take(self._failed(command, known, message, evidence))
            else:
                ended = ev.RunEnded(outcome="failed", reason=message, failure_class=known)
                self._take(Input([ended]))

    async def _perform(self, command: cmd.Command, recovering: bool) -> Input:
        match command:
            case cmd.Dispatch():
                return await self._dispatch(command)
            case cmd.Carry():
                return await self._carry(command, recovering)
            case cmd.JudgePlan():
                return await self._judge(command)
            case cmd.PlanByRules():
                return await self._plan_by_rules(command)
            case cmd.Synthesize():
                return await self._synthesize(command)
            case cmd.Publish():
                return await self._publish(command, recovering)
        raise TypeError(f"{command} is not performed by a task")

    async def _stop(self, command: cmd.Stop) -> None:
        key = CallKey(self.run_id, command.call, command.attempt)
        await self._services.stop(command.replica, key)
        self._services.dispatcher.release(key)
        if self._sent.pop(key, None) is not None:
            self._services.committed_outcome(command.replica, key)

    async def _dispatch(self, command: cmd.Dispatch) -> Input:
        call = self.machine.state.calls[command.call]
        key = CallKey(self.run_id, call.id, command.attempt)
        alias = call.planned.alias
        self._services.dispatcher.check_alias(key, alias)
        await self._services.dispatcher.rest(alias, frozenset(call.avoid), command.not_before)
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
        self._briefs[key] = brief
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
        return Input((*before, body), {prompt.sha256: prompt_json}, answers=command)

    async def _carry(self, command: cmd.Carry, recovering: bool) -> Input:
        call = self.machine.state.calls[command.call]
        key = CallKey(self.run_id, call.id, command.attempt)
        replica = call.replica or ""
        self._sent[key] = replica
        if recovering:
            self._services.dispatcher.occupy(key, call.planned.alias, replica)
            holder = await self._services.holder(key, replica)
            if holder is None:
                self._services.dispatcher.check_alias(key, call.planned.alias)
            else:
                adopted = ev.CallAdopted(call=call.id, attempt=command.attempt, holder=holder)
                self._take(Input([adopted], answers=command))
        order = await self._order(call, key)
        outcome = await self._services.attempt(replica, order)
        self._briefs.pop(key, None)
        self._services.dispatcher.release(key)
        body, texts = terminal_event(outcome, call.kind)
        return Input([body], texts)

    async def _judge(self, command: cmd.JudgePlan) -> Input:
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
        if isinstance(body, ev.PlanAccepted):
            body = reject_paths(body, command.attempt, await self._unwritable(body))
        return Input([body], answers=command)

    async def _plan_by_rules(self, command: cmd.PlanByRules) -> Input:
        body = decide_by_rules(self._view(), "the model has no valid plan")
        if isinstance(body, ev.PlanAccepted) and (why := await self._unwritable(body)):
            reason, failure = " ".join(why.values()), FailureClass.WORKSPACE_FAILED
            body = ev.RunEnded(outcome="failed", reason=reason, failure_class=failure)
        return Input([body], answers=command)

    async def _unwritable(self, plan: ev.PlanAccepted) -> Mapping[str, str]:
        """The workspace's reasons against files of a plan."""
        files = list(dict.fromkeys(call.output_file for call in plan.calls if call.output_file))
        if not files:
            return {}
        return await self._services.unwritable(self.machine.state.workspace, files)

    async def _synthesize(self, command: cmd.Synthesize) -> Input:
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
        return Input([version.body for version in made], kept, answers=command)

    async def _publish(self, command: cmd.Publish, recovering: bool) -> Input:
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
            repeated=recovering,
        )
        published = await self._services.publish(publication)
        body = ev.FilePublished(
            call=call.id,
            attempt=command.attempt,
            path=path,
            sha256=call.text.sha256,
            size=published.bytes,
            commit=published.commit,
        )
        return Input([body])

    def _failed(
        self,
        command: cmd.Dispatch | cmd.Carry | cmd.Publish,
        failure_class: FailureClass,
        message: str,
        evidence: dict[str, object],
    ) -> Input:
        call = self.machine.state.calls[command.call]
        self._services.dispatcher.release(CallKey(self.run_id, call.id, command.attempt))
        body = ev.CallFailed.model_validate(
            {
                "call": call.id,
                "attempt": command.attempt,
                "kind": call.kind,
                "failure": {
                    "failure_class": failure_class,
                    "message": message,
                    "evidence": evidence,
                },
            }
        )
        return Input([body], answers=command)

    async def _watch_wall(self) -> None:
        """Say when the soft share of the wall time is over, and when all of it is."""
        start, budgets = self.machine.state.submitted_at, self.machine.limits
        for share, soft in ((budgets.soft, True), (1.0, False)):
            await asyncio.sleep(max(0.0, start + share * budgets.wall_s - time.time()))
            body = self.machine.wall_reached(round(time.time() - start, 3), soft=soft)
            if body is not None:
                self._take(Input([body]))

    # What a call needs.

    def _view(self) -> TurnView:
        return view_turn(self.config, self.machine.state, self.goal, self._services.load())

    async def _brief(self, call: CallState) -> Brief:
        return await self._briefer.brief(call, self.machine.state)

    async def _order(self, call: CallState, key: CallKey) -> CallOrder:
        """The order of a dispatched attempt; after a restart it is built again from the record."""
        prepared = self._briefs.get(key)
        brief = prepared if prepared is not None else await self._brief(call)
        if prepared is None and call.prompt is not None:
            brief = brief.with_prompt(await self._services.texts.get(call.prompt.sha256))
        return call_order(call, key, brief, self.config, self._services.epoch)

    def _rank(self, call: CallState) -> int:
        if call.kind != "worker":
            return 1_000
        if call.id not in self._ranks:
            calls = self.machine.state.calls.values()
            self._ranks = dag([c.planned for c in calls if c.kind == "worker"]).ranks()
        return self._ranks[call.id]

    def _home(self, call: CallState) -> str | None:
        """The replica that served this run's plan before has the stack in its prefix cache."""
        if call.kind == "worker":
            return None
        served = [c.replica for c in self.machine.state.calls.values() if c.kind == "plan"]
        return next((replica for replica in reversed(served) if replica), None)
