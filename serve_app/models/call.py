"""A call with its attempts: their times, tokens, texts and failures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from serve_app.models.base import HttpModel

CallStatus = Literal[
    "planned", "queued", "running", "succeeded", "published", "failed", "cancelled", "skipped"
]
# An attempt that has not ended has no counts yet.
Count = Annotated[int, BeforeValidator(lambda value: value or 0)]


class AttemptSummary(HttpModel):
    """One attempt of a call: where it ran, its times, its tokens, how it ended."""

    attempt: int
    status: CallStatus
    alias: str | None
    mode: str | None
    pool: str | None
    replica: str | None
    devices: list[str]
    queued_at: float | None = Field(description="when its dependencies were done")
    dispatched_at: float | None = Field(description="when a replica was chosen")
    started_at: float | None = Field(description="when the replica began")
    first_token_at: float | None
    ended_at: float | None
    longest_gap_s: float | None = Field(description="longest time between two tokens")
    prompt_tokens: Count
    output_tokens: Count
    cached_tokens: Count
    finish_reason: str | None
    repairs: list[str]
    failure_class: str | None
    failure_message: str | None
    adopted_by: str | None = Field(
        description="the process in which a restarted orchestrator found the attempt"
    )


class CallSummary(HttpModel):
    """One call of a run. `attempts` has its attempts in order, none before the first dispatch."""

    call_id: str
    kind: Literal["plan", "worker", "synthesis"]
    status: CallStatus
    turn: int | None
    alias: str | None
    output_file: str | None
    depends_on: list[str]
    failure_class: str | None
    skipped_because: list[str]
    attempts: list[AttemptSummary]


class CallList(HttpModel):
    run_id: str
    calls: list[CallSummary]


class AttemptText(AttemptSummary):
    """An attempt with its prompt and its answer. A text that is `null` was not recorded."""

    prompt_name: str | None
    prompt_version: str | None = Field(description="content hash of the prompt's template")
    prompt: str | None = Field(description="messages sent to the model, as JSON")
    grammar: str | None = Field(description="output grammar enforced while decoding")
    raw: str | None = Field(description="complete output of the model")
    content: str | None = Field(description="file or text made from `raw`")
    partial: str | None = Field(description="SHA-256 of the text of a failed attempt")
    reasoning: str | None = Field(description="text of the model's reasoning, which is no answer")
    failure_evidence: dict[str, JsonValue]


class CallDetail(HttpModel):
    """One call with the texts of its attempts."""

    run_id: str
    call_id: str
    kind: Literal["plan", "worker", "synthesis"]
    status: CallStatus
    turn: int | None
    alias: str | None
    output_file: str | None
    depends_on: list[str]
    needs: list[str]
    task: str | None = Field(description="task from the plan")
    failure_class: str | None
    skipped_because: list[str]
    attempts: list[AttemptText]
