"""The live stream of a run's events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse

from familiar.errors import InputError
from serve_app import examples, history
from serve_app.backend import Backend
from serve_app.openapi import RunId, answers, problems
from serve_app.sse import PACE, Crowd, Pace, end, follow

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_MEDIA_TYPE = "text/event-stream"
_BIGGEST = 2**31 - 1


def event_routes(backend: Backend, pace: Pace = PACE) -> APIRouter:
    router = APIRouter(tags=["runs"])
    crowd = Crowd()

    @router.get(
        "/v1/runs/{run_id}/events",
        summary="Follow the events",
        response_class=StreamingResponse,
        responses={
            **answers("Server-sent events.", examples.EVENTS, media_type="text/event-stream"),
            **problems(404, 422, 503),
        },
    )
    async def get_events(
        run_id: RunId,
        after: Annotated[
            int, Query(ge=0, le=_BIGGEST, description="begin after the event with this seq")
        ] = 0,
        progress: Annotated[bool, Query(description="also send token progress")] = True,
        last_event_id: Annotated[
            int | None,
            Header(
                alias="Last-Event-ID",
                ge=0,
                le=_BIGGEST,
                description="sent by a browser that reconnects; overrides `after`",
                examples=[14],
            ),
        ] = None,
    ) -> Response:
        """Every event as it is committed: `id` is its seq, so a client that comes back with the
        last id that it saw gets exactly the events after it. Messages named `progress` have no id
        and are not repeated. The last message is named `end`, or `error` (a problem) when the
        deployment has ended before the run; a stream that stops without one of them was cut. Lines
        that begin with a colon are heartbeats."""
        begin = after if last_event_id is None else last_event_id
        if not crowd.knows(run_id, begin):
            last_seq, ended = await backend.read(history.last_seq, run_id)
            if begin > last_seq:
                raise InputError(
                    f"The last event of run {run_id} is {last_seq}, and {begin} is after it.",
                    field="query.after" if last_event_id is None else "header.Last-Event-ID",
                    remedy=f"Resume at {last_seq} or before, or without a position at the first.",
                )
            if ended is not None and begin == last_seq:
                return Response(end(ended), media_type=_MEDIA_TYPE, headers=_HEADERS)
        stream = follow(backend, run_id, begin, progress=progress, pace=pace, crowd=crowd)
        return StreamingResponse(stream, media_type=_MEDIA_TYPE, headers=_HEADERS)

    return router
