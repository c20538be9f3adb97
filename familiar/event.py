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

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    model_validator,
)

from familiar.call import CallKind, CallMode, Failure, Timing, Usage
from familiar.errors import FailureClass
from familiar.limits import RunLimits

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


# Stored rows are never rewritten: the names of earlier versions are translated when a row is read.


def _translated(data: object, names: dict[str, str]) -> object:
    """`data` with the keys of `names` under the names of this version."""
    if not isinstance(data, dict) or names.keys().isdisjoint(data):
        return data
    return {names.get(key, key): value for key, value in data.items()}


class _Body(_Value):
    pass


class InheritedFile(_Value):
    """A file that an earlier run of the session made."""

    path: str
    text: TextRef


class RunSubmitted(_Body):
    """`stack` is the message stack that the session stood at, as JSON; `inherited` its files. Every
    new run has `limits`; a row of an earlier version has none (`familiar.run.upcast`)."""

    type: Literal["run.submitted"] = "run.submitted"
    session_id: str
    goal: TextRef
    files: tuple[str, ...] = ()
    workspace: str
    config_hash: str
    idempotency_key: str | None = None
    stack: TextRef | None = None
    inherited: tuple[InheritedFile, ...] = ()
    limits: RunLimits | None = None


class RunLimitsNoted(_Body):
    """The limits of a run that was submitted without: the configuration of the first start of a
    version that records them. They hold from the run's first event on."""

    type: Literal["run.limits"] = "run.limits"
    limits: RunLimits


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
    repairs: tuple[Problem, ...] = ()
    reason: str = ""

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: object) -> object:
        return _translated(data, {"mends": "repairs"})


class PlanRejected(_Body):
    """`fingerprint` is of the plan that could be read and was rejected, None when it could not."""

    type: Literal["plan.rejected"] = "plan.rejected"
    turn: int
    attempt: int
    problems: tuple[Problem, ...]
    fingerprint: str | None = None
    doubted: tuple[str, ...] = ()
    """Calls that a guessed length questioned for the first time in this run (`plan.capacity`)."""


class PlannerChosen(_Body):
    """The planner of this turn, where it is not the orchestrator's model."""

    type: Literal["planner.chosen"] = "planner.chosen"
    turn: int
    planner: Planner
    reasons: tuple[str, ...]


class CallDispatched(_Body):
    """An attempt was routed. Recorded before the replica gets it. `continues` is the text of an
    earlier attempt that this one continues."""

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
    """A restarted orchestrator found the attempt still held by `holder` and waits for it again."""

    type: Literal["call.adopted"] = "call.adopted"
    call: str
    attempt: int
    holder: str


class CallSucceeded(_Body):
    """`raw` is the model's output over all continued attempts, and `text` the document made from
    it. `usage` and `timing` are of this attempt alone, here and in `CallFailed`. `reasoning` is the
    text that the model thought; it stands in no file and no answer."""

    type: Literal["call.succeeded"] = "call.succeeded"
    call: str
    attempt: int
    kind: CallKind
    raw: TextRef
    text: TextRef
    timing: Timing
    usage: Usage
    finish_reason: str | None = None
    repairs: tuple[str, ...] = ()
    reasoning: TextRef | None = None


class CallFailed(_Body):
    """`raw` is the part of an answer that a failed attempt left. It may be incomplete where its
    replica died: the text was then read some seconds before."""

    type: Literal["call.failed"] = "call.failed"
    call: str
    attempt: int
    kind: CallKind
    failure: Failure
    timing: Timing | None = None
    usage: Usage = Usage()
    raw: TextRef | None = None
    partial_incomplete: bool = False

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: object) -> object:
        """Earlier versions repeated `raw` as `partial`, or named a file of the workspace there."""
        if not isinstance(data, dict) or "partial" not in data:
            return data
        kept = {key: value for key, value in data.items() if key != "partial"}
        if isinstance(data["partial"], dict):
            kept.setdefault("raw", data["partial"])
        return kept

    reasoning: TextRef | None = None


class CallSkipped(_Body):
    """The call will not be attempted: a call that it depends on failed."""

    type: Literal["call.skipped"] = "call.skipped"
    call: str
    because: tuple[str, ...]


class RecoveryChosen(_Body):
    """The decision after a failed attempt; `evidence` has the numbers behind it. The next attempt
    begins `wait_s` after this event at the earliest, unless another replica can take it."""

    type: Literal["recovery.chosen"] = "recovery.chosen"
    call: str
    attempt: int
    action: RecoveryAction
    avoid_replica: str | None = None
    wait_s: float | None = None
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
    | RunLimitsNoted
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
    """An event before it has a place in the history, with the texts that its body refers to."""

    run_id: str
    body: Body
    at: float
    texts: dict[str, str] = field(default_factory=dict)


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
        return self.body.model_dump_json(exclude_none=True)


def event_from_row(run_id: str, seq: int, epoch: int, at: float, body_json: str) -> Event:
    """Read an event back. Raises `pydantic.ValidationError` for a body this version cannot read."""
    return Event(run_id, seq, epoch, at, BODY.validate_json(body_json))


def text_ref(text: str) -> TextRef:
    """The reference of a text. Lone surrogates, which no UTF-8 can hold, are replaced first."""
    data = text.encode("utf-8", "replace")
    return TextRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
