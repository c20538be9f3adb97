"""The questions that a terminal or a job can ask about runs.

`History` reads recorded runs and needs only a database. `Service` also starts and cancels
runs and needs a deployment. All methods block; they raise the errors of `familiar.errors`,
`NotFound` for an unknown id and `ClusterError` when no service answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from familiar.errors import InputError, NotFound
from familiar.event import Event
from familiar.explain.diff import RunDiff
from familiar.explain.explanation import Explanation
from familiar.service import Readiness, SubmitRun
from serve_app.models import (
    ArtifactList,
    CallDetail,
    CallList,
    CancelAccepted,
    Plan,
    PoolList,
    RunAccepted,
    RunDetail,
    RunPage,
    StreamEnd,
    StreamProgress,
)

LAST = "@last"
_PAGE = 200
_PAGES = 50

Message = Event | StreamProgress | StreamEnd
"""One message of a run's stream; a `StreamEnd` is the last."""


class History(Protocol):
    @property
    def where(self) -> str:
        """Name of the source for a person: a URL or a database."""

    def runs(self, limit: int, cursor: str | None = None, status: str | None = None) -> RunPage: ...

    def run(self, run_id: str) -> RunDetail: ...

    def plan(self, run_id: str) -> Plan: ...

    def calls(self, run_id: str) -> CallList: ...

    def call(self, run_id: str, call_id: str) -> CallDetail: ...

    def artifacts(self, run_id: str) -> ArtifactList: ...

    def explanation(self, run_id: str) -> Explanation: ...

    def difference(self, run_id: str, other: str) -> RunDiff: ...

    def text(self, run_id: str, digits: str) -> str:
        """The text of a run whose SHA-256 begins with `digits`, 12 or more."""

    def stream(self, run_id: str, after: int = 0) -> Iterator[Message]:
        """Every event with a seq above `after` as it is committed, once and in order, until the
        run's end."""

    def close(self) -> None: ...


class Service(History, Protocol):
    def submit(self, order: SubmitRun) -> RunAccepted: ...

    def cancel(self, run_id: str, reason: str) -> CancelAccepted: ...

    def pools(self) -> PoolList: ...

    def readiness(self) -> Readiness: ...


def events_so_far(history: History, run_id: str) -> Iterator[Event]:
    """The events up to the one that is the newest now, without waiting for more."""
    last = history.run(run_id).last_seq
    for message in history.stream(run_id):
        if isinstance(message, Event):
            yield message
            if message.seq >= last:
                return


def resolve_run(history: History, name: str) -> str:
    """Find a run by its id, a unique prefix of it, or `@last`. Raises `NotFound` for none and
    `InputError` for more than one."""
    if name == LAST:
        newest = history.runs(1).runs
        if not newest:
            raise NotFound(f"There are no runs in {history.where} yet.", field="run")
        return newest[0].run_id
    wanted = name.lower()
    found: list[str] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = history.runs(_PAGE, cursor)
        for run in page.runs:
            if run.run_id == name:
                return name
            # The kind in front ("r-") need not be typed.
            if run.run_id.startswith(wanted) or run.run_id.partition("-")[2].startswith(wanted):
                found.append(run.run_id)
        cursor = page.next
        if cursor is None:
            break
    if not found or not wanted:
        raise NotFound(
            f"{history.where} has no run {name or 'without a name'}.",
            field="run",
            remedy="`familiar ls` lists the runs; @last is the newest.",
        )
    if len(found) > 1:
        shown = ", ".join(found[:5]) + ("…" if len(found) > 5 else "")
        raise InputError(
            f"The prefix {name} matches {len(found)} runs: {shown}.",
            field="run",
            remedy="Give more characters of the id.",
        )
    return found[0]
