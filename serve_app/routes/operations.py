"""The deployment itself: pools, totals, health."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

import familiar
from actors.store.queries import Reader
from familiar.config.load import config_hash
from familiar.config.schema import Config
from familiar.errors import FamiliarError
from familiar.secret import scrub
from familiar.service import Readiness
from serve_app import examples
from serve_app.auth import is_known
from serve_app.backend import Backend
from serve_app.metrics import render
from serve_app.models import Deployment, Health, PoolList, Ready
from serve_app.openapi import answers, problems
from serve_app.problems import problem, respond

# A probe of Kubernetes waits one second by default.
READY_S = 0.8


def operation_routes(config: Config, backend: Backend) -> APIRouter:
    router = APIRouter(tags=["operations"])
    config_id = config_hash(config)

    @router.get(
        "/v1/deployment",
        summary="Identify the deployment",
        responses={**answers("The deployment.", examples.DEPLOYMENT), **problems(503)},
    )
    async def get_deployment() -> Deployment:
        """Its name, version, configuration and database. The CLI asks this before it sends anything
        to a service that it found by a configuration."""
        return Deployment(
            deployment=config.deployment,
            version=familiar.__version__,
            config_hash=config_id,
            store_id=await backend.read(_store_id),
        )

    @router.get(
        "/v1/pools",
        summary="Get the pools",
        responses={**answers("The pools.", examples.POOL_LIST), **problems(503)},
    )
    async def list_pools() -> PoolList:
        """Every pool with its replicas: device, state, calls in flight, tokens/s."""
        return PoolList(pools=list(await backend.pools()))

    @router.get(
        "/metrics",
        summary="Totals for Prometheus",
        response_class=Response,
        responses={
            **answers("The totals.", examples.METRICS, media_type="text/plain"),
            **problems(503),
        },
    )
    async def get_metrics(request: Request) -> Response:
        """Totals from the database, in the format that `Accept` asks for. They do not fall when a
        process is restarted, and every API replica gives the same answer."""
        accept = request.headers.get("accept", "")
        data, media_type = await backend.read(render, accept)
        return Response(data, headers={"Content-Type": media_type})

    @router.get(
        "/healthz",
        summary="Is the process alive?",
        responses=answers("It is.", {"status": "ok"}),
    )
    async def get_health() -> Health:
        """Checks this process only. Needs no key."""
        return Health()

    @router.get(
        "/readyz",
        summary="Is the deployment ready?",
        response_model=Ready,
        responses={**answers("They can.", {"ready": True}), **problems(503)},
    )
    async def get_readiness(request: Request) -> Response:
        """503 while something is missing; `reasons` only for a request with a key (without keys:
        from this machine). Needs no key."""
        try:
            readiness = await asyncio.wait_for(backend.readiness(), READY_S)
        except FamiliarError as error:
            readiness = Readiness(ready=False, reasons=(str(error),))
        except TimeoutError:
            readiness = Readiness(False, (f"The orchestrator did not answer in {READY_S:g} s.",))
        if readiness.ready:
            return Response(Ready().model_dump_json(), media_type="application/json")
        reasons = [scrub(reason) for reason in readiness.reasons] if is_known(request.scope) else []
        return respond(
            problem(
                503,
                " ".join(["The deployment cannot work on runs yet.", *reasons]),
                instance=request.url.path,
                remedy="Wait; `familiar doctor` looks for the cause if it does not change.",
                reasons=reasons,
            )
        )

    return router


def _store_id(reader: Reader) -> str:
    return reader.store_id
