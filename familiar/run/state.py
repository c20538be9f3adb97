"""The folded state of one run.

Mutable on purpose: the machine changes it in place, event by event, so that folding a history costs
what its events cost and not their square. Nothing outside the machine writes to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from familiar.call import CallKind
from familiar.errors import FailureClass
from familiar.event import (
    Budget,
    BudgetReached,
    CallDispatched,
    CallFailed,
    PlanAccepted,
    PlannedCall,
    Planner,
    Problem,
    RunEnded,
    SynthesisKind,
    SynthesisMade,
    TextRef,
)
from familiar.limits import RunLimits
from familiar.run.command import Command

STORY_EVENTS = 24
"""As many events of a call are kept for the message of an `InvalidTransition`."""


def plan_call_id(turn: int) -> str:
    return f"plan-{turn}"


def synthesis_call_id(turn: int, kind: SynthesisKind = "final") -> str:
    return f"synthesis-{turn}" if kind == "final" else f"partial-{turn}"


class CallStatus(StrEnum):
    """waiting (for dependencies) → queued → running → publishing → done; or failed, or skipped.

    The answer of a plan call is judged. A failed attempt is recovering until an action is chosen.
    """

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    JUDGING = "judging"
    RECOVERING = "recovering"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


TERMINAL = frozenset({CallStatus.DONE, CallStatus.FAILED, CallStatus.SKIPPED})


@dataclass(frozen=True, slots=True)
class FollowUp:
    """An addition to the task of the next attempt: the text that it `continues`, or the `problem`
    with the answer before. `text` is the answer of the model."""

    text: TextRef | None
    continues: bool = False
    problem: str = ""


@dataclass(slots=True)
class CallState:
    """One call over all its attempts. `blocked_on` counts the dependencies that are not done yet,
    `written_tokens` the output of the attempts that `follow_up` continues and of the last one, and
    `advice` is what the next plan is told when the call has to be split. `ready_at` is the time
    before which a server asked not to be asked again (seconds since the Unix epoch). `story` has
    seq, type and attempt of its last events."""

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
    ready_at: float = 0.0
    story: deque[tuple[int, str, int | None]] = field(
        default_factory=lambda: deque(maxlen=STORY_EVENTS)
    )

    @property
    def id(self) -> str:
        return self.planned.id

    def dispatched(self, body: CallDispatched) -> None:
        self.status, self.replica, self.prompt = CallStatus.RUNNING, body.replica, body.prompt
        self.pool, self.grammar = body.pool, body.grammar
        self.prompt_name, self.prompt_version = body.prompt_name, body.prompt_version


@dataclass(slots=True)
class TurnState:
    """One turn: who planned it, what was wrong with the plans before, how many calls are open."""

    number: int
    planner: Planner | None = None
    continue_: bool = False
    rejected: int = 0
    problems: tuple[Problem, ...] = ()
    calls: tuple[PlannedCall, ...] = ()
    repairs: tuple[Problem, ...] = ()
    open_calls: int = 0
    done: int = 0
    failed: list[str] = field(default_factory=list)

    def planned(self, body: PlanAccepted) -> None:
        self.planner, self.continue_ = body.planner, body.continue_
        self.calls, self.open_calls = body.calls, len(body.calls)
        self.repairs = body.repairs


@dataclass(frozen=True, slots=True)
class PublishedFile:
    call: str
    text: TextRef
    commit: str


@dataclass(slots=True)
class RunState:
    """A run as its history tells it. `due` holds the commands that no event has answered yet,
    `rejected_plans` fingerprints. `exhausted` is the budget that is used up: nothing more is begun
    then. `spent` is its event, and `summed_up` says that the last synthesis has been made.
    `late_facts` counts the facts that came too late to change anything."""

    run_id: str
    limits: RunLimits = field(init=False, repr=False)
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
    rejected_plans: list[str] = field(default_factory=list)
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
    late_facts: int = 0

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
