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


class TrySummary(HttpModel):
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
    longest_gap_s: float | None = Field(description="the longest silence between two tokens")
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
    """One call of a run. `tries` has its attempts in order, none before the first dispatch."""

    call_id: str
    kind: Literal["plan", "worker", "synthesis"]
    status: CallStatus
    turn: int | None
    alias: str | None
    output_file: str | None
    depends_on: list[str]
    failure_class: str | None
    skipped_because: list[str]
    tries: list[TrySummary]


class CallList(HttpModel):
    run_id: str
    calls: list[CallSummary]


class TryText(TrySummary):
    """An attempt with its prompt and its answer. A text that is `null` was not recorded."""

    prompt_name: str | None
    prompt_version: str | None = Field(description="content hash of the prompt's template")
    prompt: str | None = Field(description="what the model was sent: its messages, as JSON")
    grammar: str | None = Field(description="the output grammar that decoding was held to")
    raw: str | None = Field(description="every character that the model wrote")
    content: str | None = Field(description="what was made of it")
    partial: str | None = Field(description="SHA-256 of the text that a failed attempt left")
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
    task: str | None = Field(description="what the plan asked of the alias")
    failure_class: str | None
    skipped_because: list[str]
    tries: list[TryText]
