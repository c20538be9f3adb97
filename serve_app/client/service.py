"""The questions that a terminal or a job can ask about runs.

`History` reads recorded runs and needs only a database. `Service` also starts and cancels
runs and needs a deployment. All methods block; they raise the errors of `familiar.errors`,
`NotFound` for an unknown id and `ClusterError` when no service answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

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

Message = Event | StreamProgress | StreamEnd
"""One message of a run's stream; a `StreamEnd` is the last."""


class History(Protocol):
    """Everything that happened, read."""

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
    """A deployment that works on runs."""

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
