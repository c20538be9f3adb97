"""What the readers give out: typed, immutable rows.

Times are seconds since the Unix epoch, durations seconds, sizes bytes. A text is named by its
SHA-256; `Reader.text` gives it whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. `status` is running, cancelling, or the outcome it ended with."""

    run_id: str
    session_id: str
    status: str
    reason: str | None
    failure_class: str | None
    submitted_at: float
    cancel_requested_at: float | None
    ended_at: float | None
    goal_sha256: str
    goal_size: int
    workspace: str
    config_hash: str
    idempotency_key: str | None
    files_wanted: tuple[str, ...]
    files_made: tuple[str, ...]
    last_seq: int
    turns: int
    calls: dict[str, int]
    """How many calls have each status, plan and synthesis calls included."""
    model_calls: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int

    @property
    def outcome(self) -> str | None:
        return None if self.ended_at is None else self.status


@dataclass(frozen=True, slots=True)
class TurnRow:
    turn: int
    started_at: float | None
    planned_at: float | None
    planner: str | None
    continues: bool | None
    repairs: tuple[dict[str, JsonValue], ...]
    reason: str | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of a call: one call of a model."""

    call_id: str
    attempt: int
    kind: str
    status: str
    turn: int | None
    alias: str | None
    mode: str | None
    pool: str | None
    replica: str | None
    devices: tuple[str, ...]
    queued_at: float | None
    dispatched_at: float | None
    started_at: float | None
    first_token_at: float | None
    ended_at: float | None
    longest_gap_s: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    prompt_sha256: str | None
    prompt_size: int | None
    prompt_name: str | None
    prompt_version: str | None
    grammar: str | None
    output_file: str | None
    raw_sha256: str | None
    raw_size: int | None
    text_sha256: str | None
    text_size: int | None
    finish_reason: str | None
    repairs: tuple[str, ...]
    failure_class: str | None
    failure_message: str | None
    failure_evidence: dict[str, JsonValue]
    partial: str | None
    adopted_by: str | None
    continues_sha256: str | None
    reasoning: str | None


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call with its attempts. `status` is planned, queued, running, succeeded, published,
    failed, skipped or cancelled; a planned call whose dependencies have ended well is queued."""

    call_id: str
    kind: str
    status: str
    turn: int | None
    position: int | None
    alias: str | None
    output_file: str | None
    prompt: str | None
    needs: tuple[str, ...]
    depends_on: tuple[str, ...]
    attempt: int | None
    failure_class: str | None
    skipped_because: tuple[str, ...]
    attempts: tuple[AttemptRow, ...]

    @property
    def newest(self) -> AttemptRow | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One turn with the calls of its plan."""

    turn: TurnRow
    calls: tuple[CallRow, ...]


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A choice and its reasons. `kind` is plan.accepted, plan.rejected, planner.chosen, route,
    recovery.chosen or budget.reached; `seq` is the event that holds it."""

    seq: int
    at: float
    kind: str
    turn: int | None
    call_id: str | None
    attempt: int | None
    choice: str
    reasons: tuple[str, ...]
    detail: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class SynthesisRow:
    version: int
    seq: int
    at: float
    turn: int
    kind: str
    source: str
    text_sha256: str
    text_size: int
    inputs: tuple[str, ...]
    adopted: bool
    reason: str
    prompt_name: str | None
    prompt_version: str | None
    previous: int | None
    diff_sha256: str | None


@dataclass(frozen=True, slots=True)
class FileRow:
    """The newest publication of a path in a run."""

    path: str
    seq: int
    at: float
    call_id: str
    attempt: int
    sha256: str
    size: int
    git_commit: str


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Tokens of a run by alias and replica. `busy_s` is the time from start to end, summed."""

    alias: str | None
    replica: str | None
    attempts: int
    failed: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    busy_s: float


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
