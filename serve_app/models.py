"""Requests and answers of the API. Unknown fields of a request are rejected.

The parts of an answer are the values that the store, the router and the explanation give out
themselves (`actors.store.rows`, `familiar.service`, `familiar.explain`); here are the documents
around them, and fields that only the API has.

All times are seconds since the Unix epoch, all durations seconds, all sizes bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from actors.store.rows import (
    AttemptDetail,
    CallState,
    CallStatus,
    CallSummary,
    Decision,
    Published,
    RunState,
    RunStatus,
    RunSummary,
    SynthesisState,
    TurnState,
)
from familiar.event import Event, RunEnd, RunEnded
from familiar.goal import Goal
from familiar.goal_files import NamedPath
from familiar.path import planned_path_problem
from familiar.service import CallProgress, PoolView, RunReceipt


class HttpModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def shown(row: object, kind: type[Any]) -> dict[str, Any]:
    """The fields of `row` that the API shows: those of `kind`, a base class of it."""
    return {field.name: getattr(row, field.name) for field in fields(kind)}


# --- requests


class RunRequest(HttpModel):
    """A goal to work on. The files that it names are expected; `files` overrides them."""

    goal: str = Field(
        description="goal in words; up to api.max_goal_bytes",
        examples=["Make `index.html` and `about.html` for a small bakery, with one style."],
    )
    files: list[Annotated[str, Field(min_length=1, max_length=1024)]] | None = Field(
        None,
        max_length=200,
        description="the files that the run must make, instead of those that the goal names; "
        "[] expects none",
        examples=[["index.html", "about.html"]],
    )

    @field_validator("goal")
    @classmethod
    def _is_text(cls, goal: str) -> str:
        if "\0" in goal:
            raise ValueError(f"there is a NUL character at position {goal.index(chr(0))}")
        _no_surrogate(goal)
        return goal

    @field_validator("files")
    @classmethod
    def _can_be_written(cls, files: list[str] | None) -> list[str] | None:
        for file in files or ():
            _no_surrogate(file)
            if (found := planned_path_problem(file)) is not None:
                raise ValueError(f"{file} cannot be written: {found}")
        return files


def _no_surrogate(text: str) -> None:
    """JSON can hold an unpaired surrogate; files, databases and models cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"there is half a surrogate pair at position {error.start}") from None


class CancelRequest(HttpModel):
    reason: str = Field("", max_length=2000, examples=["The goal was wrong."])


# --- runs


class RunAccepted(HttpModel):
    """The submission is committed. `created` is false when the key was used before."""

    run_id: str
    session_id: str
    created: bool
    files: tuple[str, ...] = Field((), description="the files that the run must make")
    taken: tuple[NamedPath, ...] = Field(
        (), description="the path that each file name in the goal was taken for"
    )

    @classmethod
    def of(cls, receipt: RunReceipt, goal: Goal) -> RunAccepted:
        return cls(**shown(receipt, RunReceipt), files=goal.files, taken=goal.taken)


class CancelAccepted(HttpModel):
    """`status` is `cancelling` until everything in flight has stopped, or how the run had ended."""

    run_id: str
    status: RunStatus


class RunPage(HttpModel):
    """Newest first. `next` goes into `cursor` for the next page; null on the last one."""

    runs: list[RunSummary]
    next: str | None


@dataclass(frozen=True, slots=True)
class Synthesis(SynthesisState):
    """One version of the run's answer. `reason` says why it was adopted or not; `diff` is a unified
    diff from the version `previous`."""

    text: str | None
    diff: str | None


@dataclass(frozen=True, slots=True)
class RunDetail(RunState):
    """State of a run. `calls` counts its calls by status; `taken` has the path that each file name
    in the goal was taken for, empty where the request named the files."""

    goal: str
    taken: tuple[NamedPath, ...]
    syntheses: tuple[Synthesis, ...]


class Session(HttpModel):
    """A workspace and its runs, oldest first."""

    session_id: str
    workspace: str
    created_at: float
    runs: list[RunSummary]


# --- calls and plans


class CallList(HttpModel):
    run_id: str
    calls: list[CallSummary]


@dataclass(frozen=True, slots=True)
class AttemptText(AttemptDetail):
    """An attempt with its prompt and its answer. A text that is `null` was not recorded."""

    prompt: Annotated[str | None, Field(description="messages sent to the model, as JSON")]
    raw: Annotated[str | None, Field(description="complete output of the model")]
    content: Annotated[str | None, Field(description="file or text made from `raw`")]
    reasoning: Annotated[
        str | None, Field(description="text of the model's reasoning, which is no answer")
    ]


@dataclass(frozen=True, slots=True)
class CallDetail(CallState):
    """One call with the texts of its attempts. `task` is the task from the plan."""

    run_id: str
    needs: tuple[str, ...]
    task: str | None
    attempts: tuple[AttemptText, ...]


class PlanNode(HttpModel):
    """One worker call of the plan's DAG."""

    id: str
    alias: str | None
    prompt: str | None
    depends_on: tuple[str, ...]
    output_file: str | None
    needs: tuple[str, ...]
    status: CallStatus


class Repair(HttpModel):
    """A repair that was made to the plan before it was accepted."""

    code: str
    message: str
    call: str | None = None


@dataclass(frozen=True, slots=True)
class TurnPlan(TurnState):
    """One turn: its planner (`rules` when the model had no valid plan) and its calls in order."""

    repairs: tuple[Repair, ...]
    worker_calls: tuple[PlanNode, ...]


class Plan(HttpModel):
    """The plans, turn by turn, and every decision with its reasons."""

    run_id: str
    turns: list[TurnPlan]
    decisions: list[Decision]


# --- files


@dataclass(frozen=True, slots=True)
class Artifact(Published):
    """A file that the run published. `commit` is the one of the workspace's git history that holds
    it."""

    commit: str
    media_type: str


class ArtifactList(HttpModel):
    """Sorted by path; each path as it was last published by this run."""

    run_id: str
    artifacts: list[Artifact]


# --- the stream


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


class StreamProgress(HttpModel):
    """Telemetry between two events: every running attempt."""

    calls: tuple[CallProgress, ...]


# --- the deployment


class PoolList(HttpModel):
    """Every pool with its replicas, as the router sees them now."""

    pools: list[PoolView]


class Deployment(HttpModel):
    """Identity of the deployment; a client compares it with its configuration."""

    deployment: str
    version: str
    config_hash: str
    store_id: str = Field(description="id of the database that the deployment writes")


class Health(HttpModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(HttpModel):
    """The deployment accepts runs and works on them."""

    ready: Literal[True] = True
