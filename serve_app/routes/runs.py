"""Submit, list, show and cancel runs; continue a session."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse

from actors.store.rows import RunStatus
from familiar.config.schema import Config
from familiar.errors import Conflict
from familiar.goal import read_goal
from familiar.service import SubmitRun
from serve_app import examples, history
from serve_app.backend import Backend
from serve_app.models import (
    CancelAccepted,
    CancelRequest,
    RunAccepted,
    RunDetail,
    RunPage,
    RunRequest,
    Session,
)
from serve_app.openapi import RunId, SessionId, answers, problems

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same goal always means the same run.",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        examples=["bakery-1"],
    ),
]
_LOCATION = {
    "Location": {"description": "the path of the run", "schema": {"type": "string"}},
}
_ACCEPTED = answers("Committed; the run is being worked on.", examples.RUN_ACCEPTED, status=202)
_KNOWN = answers(
    "This key was used for this goal before: the existing run.",
    {**examples.RUN_ACCEPTED, "created": False},
)
_SUBMITTED = {
    200: {**_KNOWN[200], "model": RunAccepted, "headers": _LOCATION},
    202: {**_ACCEPTED[202], "headers": _LOCATION},
    **problems(400, 409, 413, 415, 422, 503),
}


def run_routes(config: Config, backend: Backend) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/v1/runs",
        tags=["runs"],
        summary="Submit a goal",
        status_code=202,
        response_model=RunAccepted,
        responses=_SUBMITTED,
    )
    async def submit_run(request: RunRequest, key: IdempotencyKey = None) -> Response:
        """Begin a run in a new session. The answer comes after the submission is committed:
        from then on the run ends, also after a restart of every process."""
        return await _submit(config, backend, request, key, session_id=None)

    @router.post(
        "/v1/sessions/{session_id}/runs",
        tags=["sessions"],
        summary="Continue a session",
        status_code=202,
        response_model=RunAccepted,
        responses={**_SUBMITTED, **problems(404)},
    )
    async def submit_run_in_session(
        session_id: SessionId, request: RunRequest, key: IdempotencyKey = None
    ) -> Response:
        """Begin another run with the workspace and the message stack of a session."""
        await backend.read(history.session, session_id)
        return await _submit(config, backend, request, key, session_id=session_id)

    @router.get(
        "/v1/sessions/{session_id}",
        tags=["sessions"],
        summary="Get a session",
        responses={**answers("The session.", examples.SESSION), **problems(404, 422, 503)},
    )
    async def get_session(session_id: SessionId) -> Session:
        """Its workspace and its runs, oldest first."""
        return await backend.read(history.session, session_id)

    @router.get(
        "/v1/runs",
        tags=["runs"],
        summary="List runs",
        responses={**answers("A page of runs.", examples.RUN_PAGE), **problems(422, 503)},
    )
    async def list_runs(
        limit: Annotated[int, Query(ge=1, le=200, description="runs per page")] = 50,
        cursor: Annotated[
            str | None, Query(max_length=200, description="`next` of the previous page")
        ] = None,
        status: Annotated[RunStatus | None, Query(description="only runs with this status")] = None,
    ) -> RunPage:
        """Newest first, page by page."""
        return await backend.read(history.run_page, limit=limit, cursor=cursor, status=status)

    @router.get(
        "/v1/runs/{run_id}",
        tags=["runs"],
        summary="Get a run",
        responses={**answers("The run.", examples.RUN_DETAIL), **problems(404, 422, 503)},
    )
    async def get_run(run_id: RunId) -> RunDetail:
        """Status, files, calls by status, tokens and every synthesis."""
        return await backend.read(history.run_detail, run_id)

    @router.post(
        "/v1/runs/{run_id}/cancel",
        tags=["runs"],
        summary="Cancel a run",
        status_code=202,
        responses={
            **answers("Committed.", examples.CANCEL_ACCEPTED, status=202),
            **problems(400, 404, 413, 415, 422, 503),
        },
    )
    async def cancel_run(run_id: RunId, request: CancelRequest | None = None) -> CancelAccepted:
        """Stop the calls in flight and end the run as `cancelled`. A run that has ended is not
        changed, so the request can be repeated."""
        await backend.read(history.need_run, run_id)
        reason = request.reason if request else ""
        status = await backend.cancel(run_id, reason)
        return CancelAccepted.model_validate({"run_id": run_id, "status": status})

    return router


async def _submit(
    config: Config, backend: Backend, request: RunRequest, key: str | None, session_id: str | None
) -> Response:
    files = tuple(request.files) if request.files is not None else None
    # Off the event loop: a goal can have a megabyte.
    goal = await asyncio.to_thread(
        read_goal, request.goal, max_bytes=config.api.max_goal_bytes, files=files
    )
    order = SubmitRun(goal=request.goal, session_id=session_id, idempotency_key=key, files=files)
    try:
        receipt = await backend.submit(order)
    except Conflict:
        if key is None:
            raise
        # Two requests with one key at the same time: the second finds what the first recorded.
        receipt = await backend.submit(order)
    accepted = RunAccepted.of(receipt, goal)
    return JSONResponse(
        accepted.model_dump(mode="json"),
        status_code=202 if accepted.created else 200,
        headers={"Location": f"/v1/runs/{accepted.run_id}"},
    )
