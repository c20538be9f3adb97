"""A run's events as server-sent events: cut anywhere, resumed without a gap or a double.

The id of a message is the event's seq. Messages are read from the store, never from the wire
between the processes, so what a client has seen is committed and a resume after id N begins at N+1.

A run is read once for all who follow it: its `Feed` waits in the orchestrator's long poll, reads
the new events, and keeps the newest messages as bytes; a follower takes from there, in one piece,
all that is new to it, because each piece costs Serve's proxy a message of its own. Only a follower
that begins earlier, or falls behind what is kept, reads pages of its own.

When the orchestrator is away, history is still served and the wait begins again. `end` is explicit,
because a cut stream looks like a normal end to many clients; so is `error`, the last message when
the deployment has ended and the run stands still. Progress (`progress`, without an id) is
telemetry: it is not kept, and a client that was away has missed it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import islice

from actors.store.queries import Reader
from familiar.errors import ClusterError, DeploymentEnded, FamiliarError
from familiar.event import Event, RunEnded
from familiar.service import CallProgress
from serve_app.backend import Backend
from serve_app.models import RecordedEvent, StreamEnd, StreamProgress
from serve_app.problems import problem


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, and events. `wait_s` bounds one long poll; `pause_s` is waited after a poll that
    brought nothing and came back at once, and while the orchestrator is away; after `gone_s`
    without an orchestrator's name the deployment has ended. A stream that has told nothing for
    `beat_s` sends a comment. A feed keeps `kept` messages."""

    page: int = 200
    wait_s: float = 15.0
    progress_s: float = 1.0
    pause_s: float = 1.0
    gone_s: float = 10.0
    beat_s: float = 15.0
    kept: int = 5_000


PACE = Pace()
# Progress is asked for and told at most so often in a second, however many follow; and with many of
# them, events gather for a page, at most half a second.
_ASKED_PER_S = 100
_TOLD_PER_S = 200
_QUIET = 20
_BEAT = b": no news\n\n"


class Feed:
    """The messages of one run, for all its followers. Reads as long as its task lives."""

    def __init__(self, backend: Backend, run_id: str, after: int, pace: Pace, crowd: Crowd) -> None:
        self.run_id = run_id
        self.seq = after
        self.last: bytes | None = None
        self.report: bytes | None = None
        self.error: Exception | None = None
        self.followers = 0
        self.progress_wanted = 0
        self._backend = backend
        self._pace = pace
        self._crowd = crowd
        self._messages: deque[bytes] = deque(maxlen=pace.kept)
        self._told: tuple[CallProgress, ...] = ()
        self._gone = False
        self._gone_since: float | None = None
        self._told_at = time.monotonic()
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._read())

    @property
    def begin(self) -> int:
        """The seq before the first message that is kept."""
        return self.seq - len(self._messages)

    @property
    def is_dead(self) -> bool:
        return self.error is not None or self._gone

    def page(self, after: int) -> tuple[int, bytes]:
        """The messages after seq `after`, which are kept, and the seq of the last of them."""
        first = after - self.begin
        found = list(islice(self._messages, first, first + self._pace.page))
        return after + len(found), b"".join(found)

    async def news(self) -> None:
        """Wait for a message, a report, or the end, and no longer than a stream may be silent."""
        await asyncio.shield(self._news)

    def close(self) -> None:
        self._task.cancel()

    async def _read(self) -> None:
        page = self._pace.page
        try:
            while self.last is None:
                events = await self._backend.read(Reader.events, self.run_id, self.seq, page)
                self._take(events)
                if len(events) < page and self.last is None:
                    await self._wait()
        except Exception as error:
            self.error = error
        self._tell()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            self._messages.append(_recorded(event))
            self.seq = event.seq
            if isinstance(event.body, RunEnded):
                self.last = end(StreamEnd.of(event, event.body))
        if events:
            self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        told, self._news = self._news, asyncio.get_running_loop().create_future()
        if not told.done():
            told.set_result(None)

    async def _wait(self) -> None:
        """Return when there may be more; meanwhile report the progress whenever it moved."""
        poll = asyncio.ensure_future(
            self._backend.wait_beyond(self.run_id, self.seq, self._pace.wait_s)
        )
        try:
            while not poll.done():
                await asyncio.wait({poll}, timeout=self._crowd.progress_s(self._pace))
                if self.progress_wanted and not poll.done():
                    await self._ask_progress()
                if time.monotonic() - self._told_at >= self._pace.beat_s:
                    self._tell()
            if self._brought_nothing(poll):
                await asyncio.sleep(self._pace.pause_s)
            elif linger_s := self._crowd.linger_s():
                await asyncio.sleep(linger_s)
        finally:
            poll.cancel()

    async def _ask_progress(self) -> None:
        """Nothing while the orchestrator cannot say: progress decides nothing."""
        try:
            now = await self._backend.progress(self.run_id)
        except FamiliarError:
            now = ()
        if now != self._told:
            self._told = now
            self.report = _message(StreamProgress(calls=now).model_dump_json(), event="progress")
            self._tell()

    def _brought_nothing(self, poll: asyncio.Future[int]) -> bool:
        """Whether the poll ended without news. Raises what is not the orchestrator being away."""
        try:
            latest = poll.result()
        except DeploymentEnded:
            now = time.monotonic()
            self._gone_since = self._gone_since or now
            if now - self._gone_since >= self._pace.gone_s:
                self._gone, self.last = True, _gone(self.run_id)
            return True
        except ClusterError:
            return True
        self._gone_since = None
        return latest <= self.seq


@dataclass(slots=True)
class Crowd:
    """The streams that one process serves at the moment, and the feed of each run. The more there
    are, the less often each feed asks for progress, and the longer it lets events gather."""

    followers: int = 0
    feeds: dict[str, Feed] = field(default_factory=dict)

    def progress_s(self, pace: Pace) -> float:
        told = self.followers / _TOLD_PER_S
        return max(pace.progress_s, len(self.feeds) / _ASKED_PER_S, told)

    def linger_s(self) -> float:
        return 0.0 if self.followers < _QUIET else min(0.5, self.followers / 1000)

    def knows(self, run_id: str, seq: int) -> bool:
        """Whether the run is followed and has come to `seq`, so that nothing has to be read."""
        feed = self.feeds.get(run_id)
        return feed is not None and not feed.is_dead and seq <= feed.seq

    def join(
        self, backend: Backend, run_id: str, after: int, *, progress: bool, pace: Pace
    ) -> Feed:
        """The run's feed, which begins after `after` if it is new."""
        feed = self.feeds.get(run_id)
        if feed is None or feed.is_dead:
            feed = self.feeds[run_id] = Feed(backend, run_id, after, pace, self)
        self.followers += 1
        feed.followers += 1
        feed.progress_wanted += progress
        return feed

    def leave(self, feed: Feed, *, progress: bool) -> None:
        self.followers -= 1
        feed.followers -= 1
        feed.progress_wanted -= progress
        if not feed.followers:
            feed.close()
            if self.feeds.get(feed.run_id) is feed:
                del self.feeds[feed.run_id]


async def follow(
    backend: Backend,
    run_id: str,
    after: int,
    *,
    progress: bool = True,
    pace: Pace = PACE,
    crowd: Crowd | None = None,
) -> AsyncIterator[bytes]:
    """Every event of `run_id` after seq `after`, as it is committed, until the run's end: pieces of
    whole messages."""
    crowd = crowd or Crowd()
    feed = crowd.join(backend, run_id, after, progress=progress, pace=pace)
    seq, told, woken = after, None, False
    try:
        while True:
            if seq < feed.begin:
                events = await backend.read(Reader.events, run_id, seq, pace.page)
                seq = events[-1].seq
                said = b"".join(map(_recorded, events))
            elif seq < feed.seq:
                seq, said = feed.page(seq)
            elif feed.last is not None:
                yield feed.last
                return
            elif feed.error is not None:
                raise feed.error
            elif progress and feed.report is not told:
                told = feed.report
                assert told is not None
                said = told
            elif woken:
                said = _BEAT
            else:
                await feed.news()
                woken = True
                continue
            yield said
            woken = False
    finally:
        crowd.leave(feed, progress=progress)


def end(data: StreamEnd) -> bytes:
    return _message(data.model_dump_json(), event="end")


def _gone(run_id: str) -> bytes:
    """The stream's last message when no orchestrator works on the deployment any more."""
    found = problem(
        503,
        f"The deployment has ended, and run {run_id} is still open.",
        instance=f"/v1/runs/{run_id}/events",
        remedy="The run continues when its deployment is started again.",
    )
    return _message(found.model_dump_json(exclude_none=True), event="error")


def _recorded(event: Event) -> bytes:
    return b"id: %d\n" % event.seq + _message(RecordedEvent.of(event).model_dump_json())


def _message(data: str, *, event: str = "") -> bytes:
    """`data` is JSON without line ends."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {data}\n\n".encode()
