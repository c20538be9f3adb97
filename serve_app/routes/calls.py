"""Details of a run: its plan, its calls with their texts, its log, its explanation.

An explanation is derived from the events at each request, never stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import PlainTextResponse, StreamingResponse

from actors.store.queries import Reader
from actors.store.run_log import LogLines
from familiar.explain.diff import RunDiff
from familiar.explain.explanation import Explanation
from serve_app import examples, history
from serve_app.backend import Backend
from serve_app.models import CallDetail, CallList, Plan
from serve_app.openapi import ID, CallId, RunId, answers, problems

_LOG_PAGE = 500
_NOSNIFF = {"X-Content-Type-Options": "nosniff"}


OtherRun = Annotated[
    str,
    Path(
        description="id of the run to compare with",
        max_length=100,
        pattern=ID,
        examples=[examples.RUN_DIFFERENCE["b"]["run_id"]],
    ),
]


def call_routes(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["runs"])

    @router.get(
        "/v1/runs/{run_id}/plan",
        summary="Get the plan",
        responses={**answers("The turns.", examples.PLAN), **problems(404, 422, 503)},
    )
    async def get_plan(run_id: RunId) -> Plan:
        """Every turn with its planner and its DAG of worker calls, and every decision with its
        reasons."""
        return await backend.read(history.plan, run_id)

    @router.get(
        "/v1/runs/{run_id}/calls",
        summary="List calls",
        responses={**answers("The calls.", examples.CALL_LIST), **problems(404, 422, 503)},
    )
    async def list_calls(run_id: RunId) -> CallList:
        """Every call with its attempts and their times: queued, started, first token, ended."""
        return await backend.read(history.call_list, run_id)

    @router.get(
        "/v1/runs/{run_id}/calls/{call_id}",
        summary="Get a call",
        responses={**answers("The call.", examples.CALL_DETAIL), **problems(404, 422, 503)},
    )
    async def get_call(run_id: RunId, call_id: CallId) -> CallDetail:
        """One call with the prompt and the answer of each attempt."""
        return await backend.read(history.call_detail, run_id, call_id)

    @router.get(
        "/v1/runs/{run_id}/log",
        summary="Read the log",
        response_class=StreamingResponse,
        responses={
            **answers("The lines.", examples.LOG, media_type="text/plain"),
            **problems(404, 422, 503),
        },
    )
    async def get_log(run_id: RunId) -> StreamingResponse:
        """The run's lines of `orchestra.log`: one per event, oldest first."""
        await backend.read(history.need_run, run_id)
        lines = _log_pages(backend, run_id)
        return StreamingResponse(lines, media_type="text/plain; charset=utf-8", headers=_NOSNIFF)

    @router.get(
        "/v1/runs/{run_id}/texts/{digits}",
        summary="Read a text that the log names",
        response_class=PlainTextResponse,
        responses={
            **answers("The text.", examples.GOAL, media_type="text/plain"),
            **problems(404, 422, 503),
        },
    )
    async def get_text(
        run_id: RunId,
        digits: Annotated[
            str,
            Path(
                description="the first 12 or more digits of its SHA-256, as the log has them",
                pattern=r"^[0-9a-f]{12,64}$",
                examples=["9f86d081884c"],
            ),
        ],
    ) -> PlainTextResponse:
        """The complete text of a goal, prompt, answer or document of this run."""
        text = await backend.read(history.text, run_id, digits)
        return PlainTextResponse(text, headers=_NOSNIFF)

    @router.get(
        "/v1/runs/{run_id}/explain",
        summary="Explain a run",
        responses={
            **answers("The causes, first the most likely.", examples.EXPLANATION),
            **problems(404, 422, 503),
        },
    )
    async def explain_run(run_id: RunId) -> Explanation:
        """Symptom, causes with their chain of evidence, causes ruled out, changes to make. For a
        run that succeeded: the causes of delay."""
        return await backend.read(history.explanation, run_id)

    @router.get(
        "/v1/runs/{run_id}/diff/{other}",
        summary="Compare two runs",
        responses={
            **answers("The differences.", examples.RUN_DIFFERENCE),
            **problems(404, 422, 503),
        },
    )
    async def compare_runs(run_id: RunId, other: OtherRun) -> RunDiff:
        """Prompts, shape of the plan, routes, tokens, times, outcome, syntheses: the figures that
        are not the same."""
        return await backend.read(history.difference, run_id, other)

    return router


async def _log_pages(backend: Backend, run_id: str) -> AsyncIterator[str]:
    """The lines as the recorder renders them, oldest first, up to the newest event; pages keep
    memory bounded."""
    lines = LogLines()
    seq = 0
    while True:
        events = await backend.read(Reader.events, run_id, seq, _LOG_PAGE)
        if events:
            seq = events[-1].seq
            yield "".join(f"{lines.render(event)}\n" for event in events)
        if len(events) < _LOG_PAGE:
            return
