"""A run's events as server-sent events: cut anywhere, resumed without a gap or a double.

The id of a message is the event's seq. Messages are read from the store, never from the wire
between the processes, so what a client has seen is committed and a resume after id N begins at N+1.
Between two pages the stream waits in the orchestrator's long poll; when the orchestrator is away,
history is still served and the wait begins again. `end` is explicit, because a cut stream looks
like a normal end to many clients. Progress (`progress`, without an id) is telemetry: it is not
kept, and a client that was away has missed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from sse_starlette import ServerSentEvent

from actors.store.queries import Reader
from familiar.errors import ClusterError, FamiliarError
from familiar.event import Event, RunEnded
from familiar.service import CallProgress
from serve_app.backend import Backend
from serve_app.models import RecordedEvent, StreamEnd, StreamProgress


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, and events a page. `wait_s` bounds one long poll; `pause_s` is waited after a poll
    that brought nothing and came back at once, and while the orchestrator is away."""

    page: int = 200
    wait_s: float = 15.0
    progress_s: float = 1.0
    pause_s: float = 1.0


PACE = Pace()


@dataclass(slots=True)
class Crowd:
    """The streams that one process serves at the moment. The more there are, the less often each
    asks for progress, and the longer it lets events gather for a page: so 600 followers ask the
    orchestrator about as often as 100 do, and an event is at most half a second late."""

    followers: int = 0

    def progress_s(self, pace: Pace) -> float:
        return max(pace.progress_s, self.followers / _ASKED_PER_S)

    def linger_s(self) -> float:
        return 0.0 if self.followers < _QUIET else min(0.5, self.followers / 1000)


_ASKED_PER_S = 100
_QUIET = 20
SEPARATOR = "\n"


async def follow(
    backend: Backend,
    run_id: str,
    after: int,
    *,
    progress: bool = True,
    pace: Pace = PACE,
    crowd: Crowd | None = None,
) -> AsyncIterator[ServerSentEvent]:
    """Every event of `run_id` after seq `after`, as it is committed, until the run's end."""
    crowd = crowd or Crowd()
    crowd.followers += 1
    try:
        async with aclosing(_follow(backend, run_id, after, progress, pace, crowd)) as messages:
            async for message in messages:
                yield message
    finally:
        crowd.followers -= 1


async def _follow(
    backend: Backend, run_id: str, after: int, progress: bool, pace: Pace, crowd: Crowd
) -> AsyncGenerator[ServerSentEvent, None]:
    seq = after
    while True:
        events = await backend.read(Reader.events, run_id, seq, pace.page)
        for event in events:
            yield _recorded(event)
            seq = event.seq
            if isinstance(event.body, RunEnded):
                yield end(StreamEnd.of(event, event.body))
                return
        if len(events) < pace.page:
            async with aclosing(_wait(backend, run_id, seq, progress, pace, crowd)) as reports:
                async for report in reports:
                    yield report


async def _wait(
    backend: Backend, run_id: str, seq: int, progress: bool, pace: Pace, crowd: Crowd
) -> AsyncGenerator[ServerSentEvent, None]:
    """Return when there may be more than `seq`; meanwhile report the progress whenever it moved."""
    told: tuple[CallProgress, ...] = ()
    poll = asyncio.ensure_future(backend.wait_beyond(run_id, seq, pace.wait_s))
    try:
        while not poll.done():
            await asyncio.wait({poll}, timeout=crowd.progress_s(pace))
            if progress and not poll.done() and (now := await _progress(backend, run_id)) != told:
                told = now
                yield _report(now)
        if _brought_nothing(poll, seq):
            await asyncio.sleep(pace.pause_s)
        elif linger_s := crowd.linger_s():
            await asyncio.sleep(linger_s)
    finally:
        poll.cancel()


def _brought_nothing(poll: asyncio.Future[int], seq: int) -> bool:
    """Whether the poll ended without news. Raises what is not the orchestrator being away."""
    try:
        return poll.result() <= seq
    except ClusterError:
        return True


async def _progress(backend: Backend, run_id: str) -> tuple[CallProgress, ...]:
    """Nothing while the orchestrator cannot say: progress decides nothing."""
    try:
        return await backend.progress(run_id)
    except FamiliarError:
        return ()


def _recorded(event: Event) -> ServerSentEvent:
    data = RecordedEvent.of(event).model_dump_json()
    return ServerSentEvent(data, id=str(event.seq), sep=SEPARATOR)


def _report(calls: tuple[CallProgress, ...]) -> ServerSentEvent:
    data = StreamProgress(calls=calls)
    return ServerSentEvent(data.model_dump_json(), event="progress", sep=SEPARATOR)


def end(data: StreamEnd) -> ServerSentEvent:
    """The stream's last message."""
    return ServerSentEvent(data.model_dump_json(), event="end", sep=SEPARATOR)
