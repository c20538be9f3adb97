"""Every event that a run can have, as versioned values: the only place where history is defined.

An event is recorded before it has an effect. Its body holds what happened and nothing that can be
derived from other events. Large text (goals, prompts, answers, files) is not in the body: a
`TextRef` names it by hash, and the store keeps each text once. A body is read by its `type`; a
field is only ever added, with a default, and a change of meaning gets a new `type`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from familiar.call import CallKind, CallMode
from familiar.errors import FailureClass

RunEnd = Literal["succeeded", "failed", "cancelled"]
Planner = Literal["model", "rules"]
RecoveryAction = Literal["retry", "retry_elsewhere", "ask_again", "continue", "split", "give_up"]
SynthesisKind = Literal["partial", "final"]
Budget = Literal["turns", "model_calls", "tokens", "output_tokens", "wall_s", "recoveries", "money"]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class TextRef(_Value):
    """A text by the SHA-256 of its UTF-8 bytes; `size` in bytes."""

    sha256: str
    size: int


class PlannedCall(_Value):
    """One node of a plan's DAG. `kind` of document and contract are decided at dispatch."""

    id: str
    alias: str
    prompt: str
    depends_on: tuple[str, ...] = ()
    output_file: str | None = None
    needs: tuple[str, ...] = ()


class Problem(_Value):
    """One finding about a plan or a document. `code` is stable and documented."""

    code: str
    message: str
    call: str | None = None


class FailureRecord(_Value):
    failure_class: FailureClass
    message: str
    evidence: dict[str, JsonValue] = Field(default_factory=dict)


class TimingRecord(_Value):
    """Seconds since the Unix epoch."""

    started_at: float
    first_token_at: float | None = None
    ended_at: float
    longest_gap_s: float = 0.0


class UsageRecord(_Value):
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class _Body(_Value):
    pass


class InheritedFile(_Value):
    """A file that an earlier run of the session made."""

    path: str
    text: TextRef


class RunSubmitted(_Body):
    """`stack` is the message stack that the session stood at, as JSON; `inherited` its files."""

    type: Literal["run.submitted"] = "run.submitted"
    session_id: str
    goal: TextRef
    files: tuple[str, ...] = ()
    workspace: str
    config_hash: str
    idempotency_key: str | None = None
    stack: TextRef | None = None
    inherited: tuple[InheritedFile, ...] = ()


class RunCancelRequested(_Body):
    type: Literal["run.cancel_requested"] = "run.cancel_requested"
    reason: str = ""


class RunEnded(_Body):
    type: Literal["run.ended"] = "run.ended"
    outcome: RunEnd
    reason: str
    failure_class: FailureClass | None = None


class TurnStarted(_Body):
    type: Literal["turn.started"] = "turn.started"
    turn: int


class PlanAccepted(_Body):
    """`continue_` says that another turn is wanted after these calls."""

    type: Literal["plan.accepted"] = "plan.accepted"
    turn: int
    planner: Planner
    continue_: bool
    calls: tuple[PlannedCall, ...]
    mends: tuple[Problem, ...] = ()
    reason: str = ""


class PlanRejected(_Body):
    """`fingerprint` is of the plan that could be read and was refused, None when it could not."""

    type: Literal["plan.rejected"] = "plan.rejected"
    turn: int
    attempt: int
    problems: tuple[Problem, ...]
    fingerprint: str | None = None
    doubted: tuple[str, ...] = ()
    """What a guessed length questioned, for the first time in this run (`plan.capacity`)."""


class PlannerChosen(_Body):
    """The decision who plans this turn when it is not the orchestrator's model."""

    type: Literal["planner.chosen"] = "planner.chosen"
    turn: int
    planner: Planner
    reasons: tuple[str, ...]


class CallDispatched(_Body):
    """A try was routed. Recorded before the replica hears of it. `continues` is what an earlier try
    wrote and this one goes on from."""

    type: Literal["call.dispatched"] = "call.dispatched"
    call: str
    attempt: int
    kind: CallKind
    turn: int
    alias: str
    mode: CallMode
    pool: str
    replica: str
    devices: tuple[str, ...] = ()
    queued_at: float
    prompt: TextRef
    prompt_name: str
    prompt_version: str
    grammar: str | None = None
    output_file: str | None = None
    reasons: tuple[str, ...] = ()
    continues: TextRef | None = None


class CallAdopted(_Body):
    """A restarted orchestrator found the try still held by `holder` and waits for it again."""

    type: Literal["call.adopted"] = "call.adopted"
    call: str
    attempt: int
    holder: str


class CallSucceeded(_Body):
    """`raw` is what the model wrote, over all tries that were continued, and `text` what was made
    of it. `usage` and `timing` are of this try alone, here and in `CallFailed`."""

    type: Literal["call.succeeded"] = "call.succeeded"
    call: str
    attempt: int
    kind: CallKind
    raw: TextRef
    text: TextRef
    timing: TimingRecord
    usage: UsageRecord
    finish_reason: str | None = None
    repairs: tuple[str, ...] = ()


class CallFailed(_Body):
    type: Literal["call.failed"] = "call.failed"
    call: str
    attempt: int
    kind: CallKind
    failure: FailureRecord
    timing: TimingRecord | None = None
    usage: UsageRecord = UsageRecord()
    raw: TextRef | None = None
    partial: str | None = None


class CallSkipped(_Body):
    """The call will not be tried: what it depends on failed."""

    type: Literal["call.skipped"] = "call.skipped"
    call: str
    because: tuple[str, ...]


class RecoveryChosen(_Body):
    """The decision after a failed try; `evidence` has the numbers behind it."""

    type: Literal["recovery.chosen"] = "recovery.chosen"
    call: str
    attempt: int
    action: RecoveryAction
    avoid_replica: str | None = None
    reasons: tuple[str, ...]
    evidence: dict[str, JsonValue] = Field(default_factory=dict)


class BudgetReached(_Body):
    """A run has used `used` of `limit`. With `soft` it goes on and its next plan is told; without,
    nothing more is begun and the run ends with what there is. Each at most once per budget."""

    type: Literal["budget.reached"] = "budget.reached"
    budget: Budget
    limit: float
    used: float
    soft: bool


class FilePublished(_Body):
    type: Literal["file.published"] = "file.published"
    call: str
    attempt: int
    path: str
    sha256: str
    size: int
    commit: str


class StackCompacted(_Body):
    """The message stack was begun anew for a plan prompt. Tokens are estimates; `kept` and
    `dropped` say how much of each kind of message."""

    type: Literal["stack.compacted"] = "stack.compacted"
    turn: int
    reason: str
    tokens_before: int
    tokens_after: int
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class SynthesisMade(_Body):
    """One version of the answer. `diff` is a unified diff from the version `previous`; the prompt
    is that of the model's call, if there was one."""

    type: Literal["synthesis.made"] = "synthesis.made"
    version: int
    turn: int
    kind: SynthesisKind
    source: Planner
    text: TextRef
    inputs: tuple[str, ...] = ()
    adopted: bool
    reason: str
    prompt_name: str | None = None
    prompt_version: str | None = None
    previous: int | None = None
    diff: TextRef | None = None


Body = Annotated[
    RunSubmitted
    | RunCancelRequested
    | RunEnded
    | TurnStarted
    | PlanAccepted
    | PlanRejected
    | PlannerChosen
    | CallDispatched
    | CallAdopted
    | CallSucceeded
    | CallFailed
    | CallSkipped
    | RecoveryChosen
    | BudgetReached
    | FilePublished
    | StackCompacted
    | SynthesisMade,
    Field(discriminator="type"),
]

BODY: TypeAdapter[Body] = TypeAdapter(Body, config=ConfigDict(defer_build=True))


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it has a place in the history, with the texts that its body refers to.

    `seq` is the place that its owner folded it at already; it must get that one or none."""

    run_id: str
    body: Body
    at: float
    texts: dict[str, str] = field(default_factory=dict)
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable row: `(run_id, seq)` is gap-free from 1, `epoch` is the writer's, `at` is in
    seconds since the Unix epoch."""

    run_id: str
    seq: int
    epoch: int
    at: float
    body: Body

    def body_json(self) -> str:
        # What `model_dump_json` comes to, without its way there: this is done for every event.
        return self.body.__pydantic_serializer__.to_json(self.body, exclude_none=True).decode()


def event_from_row(run_id: str, seq: int, epoch: int, at: float, body_json: str) -> Event:
    """Read an event back. Raises `pydantic.ValidationError` for a body this version cannot read."""
    return Event(run_id, seq, epoch, at, BODY.validate_json(body_json))


def text_ref(text: str) -> TextRef:
    """The reference of a text. Lone surrogates, which no UTF-8 can hold, are replaced first."""
    data = text.encode("utf-8", "replace")
    return TextRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
