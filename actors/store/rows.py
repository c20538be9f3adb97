"""What the readers give out: typed, immutable rows.

Times are seconds since the Unix epoch, durations seconds, sizes bytes. A text is named by its
SHA-256; `Reader.text` gives it whole.

The base classes (`RunSummary`, `RunState`, `AttemptSummary`, `CallSummary`, …) are also the shapes
that the API shows: a subclass adds only fields that stay inside, e.g. hashes of texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, JsonValue

RunStatus = Literal["running", "cancelling", "succeeded", "failed", "cancelled"]
CallStatus = Literal[
    "planned", "queued", "running", "succeeded", "published", "failed", "cancelled", "skipped"
]
CallKind = Literal["plan", "worker", "synthesis"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run. `status` is running, cancelling, or the outcome it ended with."""

    run_id: str
    session_id: str
    status: RunStatus
    submitted_at: float
    ended_at: float | None
    reason: Annotated[str | None, Field(description="reason for the end")]
    failure_class: str | None

    @property
    def outcome(self) -> str | None:
        return None if self.ended_at is None else self.status


@dataclass(frozen=True, slots=True)
class RunHead(RunSummary):
    """How far a run is, without its counts."""

    last_seq: int


@dataclass(frozen=True, slots=True)
class RunState(RunSummary):
    """State of a run. `calls` counts its calls by status, plan and synthesis calls included."""

    files_wanted: tuple[str, ...]
    files_made: tuple[str, ...]
    workspace: str
    config_hash: str
    idempotency_key: str | None
    cancel_requested_at: float | None
    last_seq: Annotated[int, Field(description="seq of the newest event")]
    turns: int
    calls: dict[str, int]
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class RunRow(RunState):
    goal_sha256: str
    model_calls: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class TurnState:
    turn: int
    started_at: float | None
    planned_at: float | None
    planner: Literal["model", "rules"] | None
    continues: Annotated[bool | None, Field(description="whether the plan asks for another turn")]
    reason: str | None


@dataclass(frozen=True, slots=True)
class TurnRow(TurnState):
    repairs: tuple[dict[str, JsonValue], ...]


@dataclass(frozen=True, slots=True)
class AttemptSummary:
    """One attempt of a call: where it ran, its times, its tokens, how it ended."""

    attempt: int
    status: CallStatus
    alias: str | None
    mode: str | None
    pool: str | None
    replica: str | None
    devices: tuple[str, ...]
    queued_at: Annotated[float | None, Field(description="when its dependencies were done")]
    dispatched_at: Annotated[float | None, Field(description="when a replica was chosen")]
    started_at: Annotated[float | None, Field(description="when the replica began")]
    first_token_at: float | None
    ended_at: float | None
    longest_gap_s: Annotated[float | None, Field(description="longest time between two tokens")]
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    finish_reason: str | None
    repairs: tuple[str, ...]
    failure_class: str | None
    failure_message: str | None
    adopted_by: Annotated[
        str | None,
        Field(description="the process in which a restarted orchestrator found the attempt"),
    ]


@dataclass(frozen=True, slots=True)
class AttemptDetail(AttemptSummary):
    """An attempt with the circumstances of its texts."""

    prompt_name: str | None
    prompt_version: Annotated[
        str | None, Field(description="content hash of the prompt's template")
    ]
    grammar: Annotated[str | None, Field(description="output grammar enforced while decoding")]
    partial: Annotated[str | None, Field(description="SHA-256 of the text of a failed attempt")]
    failure_evidence: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class AttemptRow(AttemptDetail):
    """One attempt of a call: one call of a model."""

    call_id: str
    kind: CallKind
    turn: int | None
    prompt_sha256: str | None
    output_file: str | None
    raw_sha256: str | None
    text_sha256: str | None
    reasoning: str | None


@dataclass(frozen=True, slots=True)
class CallState:
    """One call. A planned call whose dependencies have ended well is queued."""

    call_id: str
    kind: CallKind
    status: CallStatus
    turn: int | None
    alias: str | None
    output_file: str | None
    depends_on: tuple[str, ...]
    failure_class: str | None
    skipped_because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallSummary(CallState):
    """One call of a run. `attempts` has its attempts in order, none before the first dispatch."""

    attempts: tuple[AttemptSummary, ...]


@dataclass(frozen=True, slots=True)
class CallRow(CallSummary):
    """One call with all that is known of its attempts."""

    attempts: tuple[AttemptRow, ...]
    position: int | None
    prompt: str | None
    needs: tuple[str, ...]
    attempt: int | None


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One turn with the calls of its plan."""

    turn: TurnRow
    calls: tuple[CallRow, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """A recorded choice. `seq` is the event that holds it."""

    seq: int
    at: float
    kind: Annotated[
        str,
        Field(
            description="plan.accepted, plan.rejected, planner.chosen, route, recovery.chosen or "
            "budget.reached",
            examples=["plan.accepted", "route", "recovery.chosen"],
        ),
    ]
    turn: int | None
    call_id: str | None
    attempt: int | None
    choice: str
    reasons: tuple[str, ...]
    detail: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class SynthesisState:
    """One version of the run's answer. `reason` says why it was adopted or not."""

    version: int
    turn: int
    kind: Literal["partial", "final"]
    source: Literal["model", "rules"]
    adopted: bool
    reason: str
    at: float
    inputs: Annotated[
        tuple[str, ...],
        Field(description="the worker calls whose results it was made from"),
    ]
    prompt_name: str | None
    prompt_version: Annotated[
        str | None, Field(description="content hash of the prompt's template")
    ]
    previous: int | None


@dataclass(frozen=True, slots=True)
class SynthesisRow(SynthesisState):
    seq: int
    text_sha256: str
    diff_sha256: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """The newest publication of a path in a run."""

    path: str
    call_id: str
    attempt: int
    sha256: str
    size: int
    at: float


@dataclass(frozen=True, slots=True)
class FileRow(Published):
    seq: int
    git_commit: str


@dataclass(frozen=True, slots=True)
class CallTotals:
    """All attempts of an alias that ended in one way (`succeeded`, or a failure class).

    `queue_s` is the wait from ready to dispatched, over `queued` attempts; `call_s` the time from
    start to end, over `timed` attempts."""

    alias: str
    end: str
    attempts: int
    queued: int
    queue_s: float
    timed: int
    call_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the database was made, for metrics."""

    runs: dict[str, int]
    calls: tuple[CallTotals, ...]
