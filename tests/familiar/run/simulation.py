"""A run without a cluster: commands are answered by dice, so that histories of every kind arise.

The simulator plays the orchestrator: it keeps what is due, picks one command at random, and commits
the event that answers it. A command that is due no longer was begun all the same, so its answer may
still come. It can crash after any event, which is nothing but a new fold.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from familiar import event as ev
from familiar.call import Failure, Timing, Usage
from familiar.errors import FailureClass
from familiar.limits import Price, RunLimits
from familiar.run import command as cmd
from familiar.run import synthesis
from familiar.run.machine import RunMachine
from familiar.run.transition import Fact

FILES = ("index.html", "about.html", "README.md")
FAILURES = tuple(FailureClass)


def limits(**changes: object) -> RunLimits:
    values: dict[str, object] = {
        "orchestrator_alias": "orchestrator",
        "plan_tries": 2,
        "rules_planner": True,
        "synthesis": True,
        "turns": 4,
        "model_calls": 200,
        "output_tokens": 10_000,
        "attempts": 3,
        "wall_s": 60.0,
        "tokens": 100_000,
        "recoveries": 100,
    }
    return RunLimits(**{**values, **changes})  # type: ignore[arg-type]


PRICES = {"p": Price(input_per_million=1.0, output_per_million=10.0)}
TIGHT: dict[ev.Budget, RunLimits] = {
    "turns": limits(turns=1),
    "model_calls": limits(model_calls=3),
    "tokens": limits(tokens=90),
    "output_tokens": limits(output_tokens=40),
    "recoveries": limits(recoveries=1),
    "money": limits(money=0.0005, prices=PRICES),
}
"""Every budget but the wall time, in turn so small that troubled runs reach it."""


@dataclass
class Simulation:
    """One simulated run. `trouble` is the share of attempts and plans that go wrong."""

    seed: int
    trouble: float = 0.2
    files: tuple[str, ...] = FILES
    limits: RunLimits = field(default_factory=limits)
    history: list[ev.Event] = field(default_factory=list)
    late: list[cmd.Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._answering = ""
        self.machine = RunMachine("r")
        self.commit(
            ev.RunSubmitted(
                session_id="s",
                goal=ev.text_ref("goal"),
                files=self.files,
                workspace="/w",
                config_hash="c",
                limits=self.limits,
            )
        )

    def commit(self, body: ev.Body) -> list[cmd.Command]:
        event = ev.Event("r", len(self.history) + 1, 1, float(len(self.history)), body)
        self.history.append(event)
        before = dict(self.machine.state.due)
        fresh = self.machine.apply(event)
        after = self.machine.state.due
        answers = {due for due in before if due not in after}
        if self.machine.state.exhausted is not None:
            self.late += [before[due] for due in answers if due != self._answering]
        return fresh

    @property
    def ended(self) -> ev.RunEnded | None:
        return self.machine.state.ended

    def run(self, *, steps: int = 2_000) -> ev.RunEnded:
        for _ in range(steps):
            if self.ended is not None:
                return self.ended
            self.step()
        raise AssertionError(f"no end after {steps} steps; due: {list(self.machine.state.due)}")

    def step(self) -> None:
        due = list(self.machine.state.due.values())
        assert due, "an open run must always have something due"
        command = self.dice.choice([*due, *self.late])
        late = any(known is command for known in self.late)
        self.late = [known for known in self.late if known is not command]
        self._answering = command.due
        for body in self.answers(command):
            # The orchestrator asks again when a decision was prepared for a state of before.
            if self.machine.takes(body) or isinstance(body, Fact):
                self.commit(body)
            else:
                assert late, f"{body} answers what is due, and cannot be taken"

    def crash(self) -> None:
        """Lose everything but the history."""
        self.machine = RunMachine("r")
        for event in self.history:
            self.machine.apply(event)

    def answers(self, command: cmd.Command) -> list[ev.Body]:
        if isinstance(command, cmd.Synthesize):
            return [version.body for version in self._synthesis(command)]
        return [self.answer(command)]

    def answer(self, command: cmd.Command) -> ev.Body:
        match command:
            case cmd.Synthesize():
                return self.answers(command)[-1]
            case cmd.Record():
                return command.body
            case cmd.Dispatch():
                return self._dispatched(command)
            case cmd.Carry():
                return self._carried(command)
            case cmd.Publish():
                path = self.machine.state.calls[command.call].planned.output_file
                return ev.FilePublished(
                    call=command.call,
                    attempt=command.attempt,
                    path=path or "",
                    sha256="0" * 64,
                    size=1,
                    commit="0" * 40,
                )
            case cmd.JudgePlan() if self.dice.random() < self.trouble:
                problem = ev.Problem(code="plan_malformed", message="no")
                return ev.PlanRejected(
                    turn=command.turn, attempt=command.attempt, problems=(problem,)
                )
            case cmd.JudgePlan():
                return self._plan(command.turn, "model")
            case cmd.PlanByRules():
                return self._plan(command.turn, "rules")
        raise AssertionError(f"a stop is never due: {command}")

    def _dispatched(self, command: cmd.Dispatch) -> ev.Body:
        call = self.machine.state.calls[command.call]
        return ev.CallDispatched(
            call=command.call,
            attempt=command.attempt,
            kind=call.kind,
            turn=call.turn,
            alias=call.planned.alias,
            mode="text",
            pool="p",
            replica=f"p:{self.dice.randrange(2)}",
            queued_at=0.0,
            prompt=ev.text_ref("prompt"),
            prompt_name="p",
            prompt_version="0",
        )

    def _carried(self, command: cmd.Carry) -> ev.Body:
        call = self.machine.state.calls[command.call]
        usage = Usage(prompt_tokens=20, output_tokens=self.dice.randrange(50))
        if self.dice.random() < self.trouble:
            failure = Failure(
                failure_class=self.dice.choice(FAILURES),
                message="broken",
                evidence={"tokens_per_s": 5.0, "deadline_s": 10.0, "max_tokens": 100},
            )
            return ev.CallFailed(
                call=command.call,
                attempt=command.attempt,
                kind=call.kind,
                failure=failure,
                usage=usage,
                raw=ev.text_ref("partial") if usage.output_tokens else None,
            )
        text = ev.text_ref(command.call)
        return ev.CallSucceeded(
            call=command.call,
            attempt=command.attempt,
            kind=call.kind,
            raw=text,
            text=text,
            timing=Timing(started_at=0.0, ended_at=1.0),
            usage=usage,
        )

    def _synthesis(self, command: cmd.Synthesize) -> tuple[synthesis.Version, ...]:
        """With a model's text where its call succeeded, which names a file that may not exist."""
        state = self.machine.state
        call = None if command.call is None else state.calls[command.call]
        said = None if call is None or call.text is None else f"See {self.dice.choice(FILES)}."
        return synthesis.versions(
            synthesis.candidates(state, command, said),
            command,
            synthesis.inputs(state),
            last=state.syntheses[-1].version if state.syntheses else 0,
            last_text="before" if state.syntheses else None,
        )

    def _plan(self, turn: int, planner: ev.Planner) -> ev.PlanAccepted:
        missing = self.machine.state.missing
        wanted: list[str | None] = [f for f in missing if self.dice.random() < 0.7] or [
            *missing[:1]
        ]
        wanted += [None] * self.dice.randrange(3)
        calls: list[ev.PlannedCall] = []
        for number, path in enumerate(wanted):
            before = [call.id for call in calls if self.dice.random() < 0.4]
            calls.append(
                ev.PlannedCall(
                    id=f"c{turn}-{number}",
                    alias="naughty",
                    prompt="write",
                    depends_on=tuple(before),
                    output_file=path,
                )
            )
        self.dice.shuffle(calls)
        return ev.PlanAccepted(
            turn=turn, planner=planner, continue_=self.dice.random() < 0.2, calls=tuple(calls)
        )
