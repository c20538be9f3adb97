"""The folded state of one run.

Mutable on purpose: the machine changes it in place, event by event, so that folding a history costs
what its events cost and not their square. Nothing outside the machine writes to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from familiar.call import CallKind
from familiar.errors import FailureClass
from familiar.event import (
    Budget,
    BudgetReached,
    CallFailed,
    PlannedCall,
    Planner,
    Problem,
    RunEnded,
    SynthesisMade,
    TextRef,
)
from familiar.run.command import Command


class CallStatus(StrEnum):
    """waiting (for dependencies) → queued → running → publishing → done; or failed, or skipped."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


TERMINAL = frozenset({CallStatus.DONE, CallStatus.FAILED, CallStatus.SKIPPED})


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What the next try is told beside its task: the text that it `continues`, or the `problem`
    with the answer before. `text` is what the model wrote."""

    text: TextRef | None
    continues: bool = False
    problem: str = ""


@dataclass(slots=True)
class CallState:
    """One call over all its tries. `blocked_on` counts the dependencies that are not done yet,
    `written_tokens` the output of the tries that `follow_up` continues and of the last one, and
    `advice` is what the next plan is told when the call has to be split."""

    planned: PlannedCall
    kind: CallKind
    turn: int
    status: CallStatus = CallStatus.WAITING
    attempt: int = 1
    blocked_on: int = 0
    replica: str | None = None
    avoid: set[str] = field(default_factory=set)
    failures: list[FailureClass] = field(default_factory=list)
    last_failure: CallFailed | None = None
    prompt: TextRef | None = None
    raw: TextRef | None = None
    text: TextRef | None = None
    finish_reason: str | None = None
    pool: str = ""
    grammar: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    follow_up: FollowUp | None = None
    written_tokens: int = 0
    advice: str = ""

    @property
    def id(self) -> str:
        return self.planned.id


@dataclass(slots=True)
class TurnState:
    """One turn: who planned it, what was wrong with the plans before, how many calls are open."""

    number: int
    planner: Planner | None = None
    continue_: bool = False
    rejected: int = 0
    problems: tuple[Problem, ...] = ()
    calls: tuple[PlannedCall, ...] = ()
    mends: tuple[Problem, ...] = ()
    open_calls: int = 0
    done: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PublishedFile:
    call: str
    text: TextRef
    commit: str


@dataclass(slots=True)
class RunState:
    """What the history says. `due` holds the commands that no event has answered yet, `refused` the
    fingerprints of the plans that were. `exhausted` is the budget of which nothing is left: nothing
    more is begun then. `spent` is its event, and `summed_up` says that the synthesis of what there
    is has been made."""

    run_id: str
    seq: int = 0
    session_id: str = ""
    goal: TextRef | None = None
    workspace: str = ""
    submitted_at: float = 0.0
    wanted: tuple[str, ...] = ()
    stack: TextRef | None = None
    inherited: dict[str, TextRef] = field(default_factory=dict)
    files: dict[str, PublishedFile] = field(default_factory=dict)
    calls: dict[str, CallState] = field(default_factory=dict)
    dependents: dict[str, list[str]] = field(default_factory=dict)
    turns: list[TurnState] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    doubted: set[str] = field(default_factory=set)
    turns_over: int = 0
    model_calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    recoveries: int = 0
    money: float = 0.0
    warned: dict[Budget, BudgetReached] = field(default_factory=dict)
    exhausted: Budget | None = None
    spent: BudgetReached | None = None
    summed_up: bool = False
    syntheses: list[SynthesisMade] = field(default_factory=list)
    ended: RunEnded | None = None
    due: dict[str, Command] = field(default_factory=dict)

    @property
    def turn(self) -> TurnState:
        return self.turns[-1]

    @property
    def missing(self) -> tuple[str, ...]:
        """The files that the goal named and that are not there yet."""
        return tuple(name for name in self.wanted if name not in self.files)

    def text_of(self, path: str) -> TextRef | None:
        """The newest text of a file of this run, or of the session before it."""
        made = self.files.get(path)
        return self.inherited.get(path) if made is None else made.text

    def running(self) -> list[CallState]:
        return [call for call in self.calls.values() if call.status is CallStatus.RUNNING]
