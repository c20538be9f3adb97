"""The API: routes over a backend, behind one gate, every error a problem document.

`create_api` is pure: it opens nothing and starts nothing. The same app runs in Serve's ingress
replica over the orchestrator actor and in tests over a backend in the same process.
"""

from __future__ import annotations

from fastapi import FastAPI

import familiar
from familiar.config.schema import Config
from serve_app import problems
from serve_app.auth import Gate
from serve_app.backend import Backend
from serve_app.body_limit import BodyLimit, body_limit
from serve_app.docs import docs_routes
from serve_app.openapi import describe
from serve_app.routes.artifacts import artifact_routes
from serve_app.routes.calls import call_routes
from serve_app.routes.events import event_routes
from serve_app.routes.operations import operation_routes
from serve_app.routes.runs import run_routes
from serve_app.sse import PACE, Pace

_TAGS = [
    {"name": "runs", "description": "One goal, worked on until it ends."},
    {"name": "sessions", "description": "A workspace and a message stack that runs share."},
    {"name": "artifacts", "description": "The files that runs published."},
    {"name": "operations", "description": "Pools, totals and health."},
]


def create_api(
    config: Config, backend: Backend, *, digests: tuple[str, ...] | None, pace: Pace = PACE
) -> FastAPI:
    """The ASGI app. `digests` are those of the bearer keys (`auth.load_keys`); None means
    `auth: none`."""
    app = FastAPI(
        title="familiar",
        version=familiar.__version__,
        summary="One goal, many small model calls on your own GPUs, and a reason for each of them.",
        description="Times are seconds since the Unix epoch. Errors are RFC 9457 problems.",
        openapi_tags=_TAGS,
        # FastAPI's page would load scripts from elsewhere; `docs_routes` has our own.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    problems.install(app)
    app.include_router(run_routes(config, backend))
    app.include_router(call_routes(backend))
    app.include_router(artifact_routes(backend))
    app.include_router(event_routes(backend, pace))
    app.include_router(operation_routes(config, backend))
    app.include_router(docs_routes(app))
    app.add_middleware(
        BodyLimit,
        limit=body_limit(config.api.max_goal_bytes),
        max_goal_bytes=config.api.max_goal_bytes,
    )
    # Added last, so it stands first: nothing is read for somebody who has no key.
    app.add_middleware(Gate, digests=digests)
    describe(app, bearer=digests is not None)
    return app
