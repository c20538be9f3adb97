"""A whole run without a cluster: the real machine, briefer, judge and lint, and scripted answers.

Commands are answered one after the other, in the order in which they became due, by the code that a
deployment runs; only what a replica, a workspace and a database would do is replaced by values in
memory. So a bench or a test can look at every prompt of a run, byte for byte, and can lose
everything but the history at any point (`restart`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from actors.orchestrator.briefer import Briefer
from actors.orchestrator.texts import Texts
from familiar import event as ev
from familiar.brief import Brief
from familiar.call import Failure, Timing, Usage
from familiar.config.schema import Config
from familiar.context.message import StackMessage
from familiar.context.stack import read_stack
from familiar.errors import FailureClass
from familiar.goal import Goal, read_goal
from familiar.limits import RunLimits
from familiar.plan.judge import judge_plan
from familiar.plan.read import PlanWire
from familiar.plan.rules import decide_by_rules
from familiar.plan.view import NO_LOAD, PoolLoad
from familiar.run import command as cmd
from familiar.run import synthesis
from familiar.run.machine import RunMachine
from familiar.run.state import CallState, RunState
from familiar.run.turn_view import view_turn
from familiar.wire import wire_suffix

Answer = str | FailureClass
Script = Callable[[CallState, Brief], Answer]
"""The answer of a model to a brief, or the failure of the attempt."""
MAX_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A prompt that a model was given."""

    call: str
    attempt: int
    kind: str
    alias: str
    turn: int
    brief: Brief


@dataclass
class InProcessRun:
    """One run. `kept` and `history` are what a database would hold; the rest can be lost."""

    config: Config
    goal_text: str
    script: Script
    run_id: str = "r-1"
    stack: str | None = None
    inherited: Mapping[str, str] = field(default_factory=dict)
    make_briefer: Callable[..., Briefer] = Briefer
    load: PoolLoad = NO_LOAD
    history: list[ev.Event] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.goal: Goal = read_goal(self.goal_text, max_bytes=1 << 20)
        self.machine = RunMachine(self.run_id)
        self.briefer = self._briefer()
        files = [ev.InheritedFile(path=p, text=self.keep(t)) for p, t in self.inherited.items()]
        submitted = ev.RunSubmitted(
            limits=RunLimits.of(self.config),
            session_id="s-1",
            goal=self.keep(self.goal.text),
            files=self.goal.files,
            workspace="/w",
            config_hash="c",
            stack=None if self.stack is None else self.keep(self.stack),
            inherited=tuple(files),
        )
        self.commit(submitted)

    def keep(self, text: str) -> ev.TextRef:
        ref = ev.text_ref(text)
        self.kept[ref.sha256] = text
        return ref

    def commit(self, body: ev.Body) -> None:
        event = ev.Event(self.run_id, len(self.history) + 1, 1, float(len(self.history)), body)
        self.history.append(event)
        self.machine.apply(event)

    def restart(self) -> None:
        """Lose everything but the history and its texts."""
        self.machine = RunMachine(self.run_id)
        for event in self.history:
            self.machine.apply(event)
        self.briefer = self._briefer()

    def run(self) -> ev.RunEnded:
        """Work until the run has ended."""
        return asyncio.run(self._run())

    def files(self) -> dict[str, str]:
        """What was published, by path."""
        return {path: self.kept[file.text.sha256] for path, file in self.state.files.items()}

    @property
    def state(self) -> RunState:
        return self.machine.state

    async def _run(self) -> ev.RunEnded:
        for _ in range(MAX_STEPS):
            if self.state.ended is not None:
                return self.state.ended
            await self.step()
        raise AssertionError(f"no end after {MAX_STEPS} steps; due: {list(self.state.due)}")

    async def step(self) -> None:
        """Answer the oldest command that is due."""
        command = next(iter(self.state.due.values()))
        match command:
            case cmd.Record():
                self.commit(command.body)
            case cmd.Dispatch():
                await self._dispatch(command)
            case cmd.Carry():
                self._carry(command)
            case cmd.JudgePlan():
                self._judge(command)
            case cmd.PlanByRules():
                view = view_turn(self.config, self.state, self.goal, self.load)
                self.commit(decide_by_rules(view, "the model has no valid plan"))
            case cmd.Synthesize():
                self._synthesize(command)
            case cmd.Publish():
                self._publish(command)

    def _briefer(self) -> Briefer:
        texts = Texts(self.kept.get)
        return self.make_briefer(self.config, self.goal, texts, lambda: self.load)

    def _judge(self, command: cmd.JudgePlan) -> None:
        call = self.state.calls[command.call]
        assert call.raw is not None
        wire = PlanWire(
            self.config.aliases[call.planned.alias].wire, wire_suffix(self.run_id, command.turn)
        )
        view = view_turn(self.config, self.state, self.goal, self.load)
        answer = self.kept[call.raw.sha256]
        self.commit(judge_plan(answer, view, command.attempt, wire=wire))

    def _synthesize(self, command: cmd.Synthesize) -> None:
        call = None if command.call is None else self.state.calls[command.call]
        said = None if call is None or call.text is None else self.kept[call.text.sha256]
        before = self.state.syntheses[-1] if self.state.syntheses else None
        made = synthesis.versions(
            synthesis.candidates(self.state, command, said),
            command,
            synthesis.inputs(self.state),
            last=before.version if before else 0,
            last_text=self.kept[before.text.sha256] if before else None,
        )
        for version in made:
            self.kept.update(version.texts)
            self.commit(version.body)

    async def _dispatch(self, command: cmd.Dispatch) -> None:
        call = self.state.calls[command.call]
        brief = await self.briefer.brief(call, self.state)
        alias = call.planned.alias
        self.sent.append(Sent(call.id, call.attempt, call.kind, alias, call.turn, brief))
        if brief.compaction is not None:
            self.commit(brief.compaction)
        self.commit(
            ev.CallDispatched(
                call=call.id,
                attempt=command.attempt,
                kind=call.kind,
                turn=call.turn,
                alias=alias,
                mode="text" if call.planned.output_file is None else "output_file",
                pool=self.config.aliases[alias].pool,
                replica="p:0",
                queued_at=0.0,
                prompt=self.keep(brief.prompt_json),
                prompt_name=brief.prompt_name,
                prompt_version=brief.prompt_version,
                output_file=call.planned.output_file,
            )
        )

    def _carry(self, command: cmd.Carry) -> None:
        call = self.state.calls[command.call]
        brief = next(s.brief for s in reversed(self.sent) if s.call == call.id)
        answer = self.script(call, brief)
        if isinstance(answer, FailureClass):
            failure = Failure(failure_class=answer, message=f"{answer} in the script")
            self.commit(
                ev.CallFailed(
                    call=call.id, attempt=command.attempt, kind=call.kind, failure=failure
                )
            )
            return
        text = self.keep(answer)
        self.commit(
            ev.CallSucceeded(
                call=call.id,
                attempt=command.attempt,
                kind=call.kind,
                raw=text,
                text=text,
                timing=Timing(started_at=0.0, first_token_at=0.5, ended_at=1.0),
                usage=Usage(output_tokens=len(answer) // 4),
            )
        )

    def _publish(self, command: cmd.Publish) -> None:
        call = self.state.calls[command.call]
        assert call.text is not None
        assert call.planned.output_file is not None
        self.commit(
            ev.FilePublished(
                call=call.id,
                attempt=command.attempt,
                path=call.planned.output_file,
                sha256=call.text.sha256,
                size=call.text.size,
                commit="0" * 40,
            )
        )


def session_stack(run: InProcessRun) -> str:
    """The stack at which the next run of the session goes on, as the intake builds it."""
    plan = [sent for sent in run.sent if sent.kind == "plan"][-1]
    call = run.state.calls[plan.call]
    stack = read_stack(plan.brief.prompt_json)
    return stack.push(StackMessage("plan", run.kept[call.raw.sha256])).to_json()
