"""Explanation of a run, and comparison of two runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from familiar.explain.diff import RunDiff
from familiar.explain.explanation import Explanation
from serve_app import examples, history
from serve_app.backend import Backend
from serve_app.openapi import answers, problems
from serve_app.routes.parameters import RunId

OtherRun = Annotated[
    str,
    Path(
        description="id of the run to compare with",
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$",
        examples=[examples.RUN_DIFFERENCE["b"]["run_id"]],
    ),
]


def explanation_routes(backend: Backend) -> APIRouter:
    """Diagnosis: derived from the events at each request, never stored."""
    router = APIRouter(tags=["runs"])

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
