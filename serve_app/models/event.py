"""A recorded event as the API shows it, and the stream's own messages."""

from __future__ import annotations

from pydantic import Field, JsonValue

from familiar.event import Event, RunEnd, RunEnded
from serve_app.models.base import HttpModel


class RecordedEvent(HttpModel):
    """One event of the history. `body` depends on `type`; `seq` is gap-free from 1."""

    run_id: str
    seq: int = Field(ge=1)
    epoch: int
    at: float = Field(description="seconds since the Unix epoch")
    type: str = Field(examples=["call.succeeded"])
    body: dict[str, JsonValue]

    @classmethod
    def of(cls, event: Event) -> RecordedEvent:
        return cls(
            run_id=event.run_id,
            seq=event.seq,
            epoch=event.epoch,
            at=event.at,
            type=event.body.type,
            body=event.body.model_dump(mode="json", exclude_none=True, exclude={"type"}),
        )


class StreamEnd(HttpModel):
    """The last message of a stream: the run has ended and there will be no further event."""

    run_id: str
    seq: int = Field(description="the seq of the run's last event")
    outcome: RunEnd
    reason: str
    failure_class: str | None = None

    @classmethod
    def of(cls, event: Event, body: RunEnded) -> StreamEnd:
        return cls(
            run_id=event.run_id,
            seq=event.seq,
            outcome=body.outcome,
            reason=body.reason,
            failure_class=body.failure_class,
        )


class AttemptProgress(HttpModel):
    """Tokens so far of a running attempt, and tokens/s since its first token."""

    call: str
    attempt: int
    alias: str
    replica: str
    tokens: int
    tokens_per_s: float


class StreamProgress(HttpModel):
    """Telemetry between two events: every running attempt."""

    calls: list[AttemptProgress]
