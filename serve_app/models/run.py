"""A run: request, acceptance, state."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from familiar.path import planned_path_problem
from serve_app.models.base import HttpModel

RunStatus = Literal["running", "cancelling", "succeeded", "failed", "cancelled"]


class RunRequest(HttpModel):
    """A goal to work on. The files that it names are expected; `files` overrides them."""

    goal: str = Field(
        description="goal in words; up to api.max_goal_bytes",
        examples=["Make `index.html` and `about.html` for a small bakery, with one style."],
    )
    files: list[str] | None = Field(
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


class RunAccepted(HttpModel):
    """The submission is committed. `created` is false when the key was used before."""

    run_id: str
    session_id: str
    created: bool


class CancelRequest(HttpModel):
    reason: str = Field("", max_length=2000, examples=["The goal was wrong."])


class CancelAccepted(HttpModel):
    """`status` is `cancelling` until everything in flight has stopped, or how the run had ended."""

    run_id: str
    status: RunStatus


class RunSummary(HttpModel):
    run_id: str
    session_id: str
    status: RunStatus
    submitted_at: float
    ended_at: float | None
    reason: str | None = Field(description="reason for the end")
    failure_class: str | None


class RunPage(HttpModel):
    """Newest first. `next` goes into `cursor` for the next page; null on the last one."""

    runs: list[RunSummary]
    next: str | None


class Synthesis(HttpModel):
    """One version of the run's answer. `reason` says why it was adopted or not; `diff` is a unified
    diff from the version `previous`."""

    version: int
    turn: int
    kind: Literal["partial", "final"]
    source: Literal["model", "rules"]
    adopted: bool
    reason: str
    at: float
    text: str | None
    inputs: list[str] = Field(description="the worker calls whose results it was made from")
    prompt_name: str | None
    prompt_version: str | None = Field(description="content hash of the prompt's template")
    previous: int | None
    diff: str | None


class RunDetail(RunSummary):
    """State of a run. `calls` counts its calls by status."""

    goal: str
    files_wanted: list[str]
    files_made: list[str]
    workspace: str
    config_hash: str
    idempotency_key: str | None
    cancel_requested_at: float | None
    last_seq: int = Field(description="seq of the newest event")
    turns: int
    calls: dict[str, int]
    prompt_tokens: int
    output_tokens: int
    syntheses: list[Synthesis]


class Session(HttpModel):
    """A workspace and its runs, oldest first."""

    session_id: str
    workspace: str
    created_at: float
    runs: list[RunSummary]
