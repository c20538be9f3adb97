"""Recorded runs, read from the database without any service: works when nothing runs.

With SQLite this is the node that holds the file, with PostgreSQL any. A stream looks at the
database twice a second, and it has no token progress: only a deployment knows that. Without an
orchestrator that holds the database, an open run stands still, and its follower is told so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from actors.store.queries import Reader
from familiar.errors import DeploymentEnded, NotFound
from familiar.event import RunEnded
from familiar.explain.diff import RunDiff
from familiar.explain.explanation import Explanation
from serve_app import history
from serve_app.client.service import Message
from serve_app.models import ArtifactList, CallDetail, CallList, Plan, RunDetail, RunPage, StreamEnd

POLL_S = 0.5
PAGE = 200
# Longer than a restarted orchestrator is without a name.
GONE_S = 5.0


class DatabaseHistory:
    """Implements `History` over the store at `url`. Raises `StoreError` when it cannot be read."""

    def __init__(self, url: str) -> None:
        self._reader = Reader.open(url)
        self._gone_since: float | None = None

    @property
    def where(self) -> str:
        return f"the database {self._reader.address}"

    def close(self) -> None:
        self._reader.close()

    def runs(self, limit: int, cursor: str | None = None, status: str | None = None) -> RunPage:
        return history.run_page(self._reader, limit=limit, cursor=cursor, status=status)

    def run(self, run_id: str) -> RunDetail:
        return history.run_detail(self._reader, run_id)

    def plan(self, run_id: str) -> Plan:
        return history.plan(self._reader, run_id)

    def calls(self, run_id: str) -> CallList:
        return history.call_list(self._reader, run_id)

    def call(self, run_id: str, call_id: str) -> CallDetail:
        return history.call_detail(self._reader, run_id, call_id)

    def artifacts(self, run_id: str) -> ArtifactList:
        return history.artifacts(self._reader, run_id)

    def explanation(self, run_id: str) -> Explanation:
        return history.explanation(self._reader, run_id)

    def difference(self, run_id: str, other: str) -> RunDiff:
        return history.difference(self._reader, run_id, other)

    def text(self, run_id: str, digits: str) -> str:
        return history.text(self._reader, run_id, digits)

    def has_session(self, session_id: str) -> bool:
        try:
            return bool(self._reader.session_runs(session_id))
        except NotFound:
            return False

    def stream(self, run_id: str, after: int = 0) -> Iterator[Message]:
        seq = after
        while True:
            events = self._reader.events(run_id, seq, PAGE)
            for event in events:
                seq = event.seq
                yield event
                if isinstance(event.body, RunEnded):
                    yield StreamEnd.of(event, event.body)
                    return
            if not events:
                last, ended = history.last_seq(self._reader, run_id)
                if last > seq:
                    continue
                if ended is not None:
                    yield ended
                    return
                yield from self.waited(run_id, seq)

    def waited(self, run_id: str, seq: int) -> Iterator[Message]:
        """Wait a little for an event above `seq`; may tell what goes on meanwhile. Raises
        `DeploymentEnded` when no orchestrator holds the database any more."""
        self.check_deployment(run_id, there=self._reader.is_owned())
        time.sleep(POLL_S)
        yield from ()

    def check_deployment(self, run_id: str, *, there: bool) -> None:
        """Raises `DeploymentEnded` once nothing has been `there` for `GONE_S`."""
        now = time.monotonic()
        self._gone_since = None if there else self._gone_since or now
        if self._gone_since is not None and now - self._gone_since >= GONE_S:
            raise DeploymentEnded(
                f"No deployment works on run {run_id} now, and it is still open.",
                remedy="It continues when its deployment is started again.",
            )
