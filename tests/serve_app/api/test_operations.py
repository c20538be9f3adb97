"""Pools, totals, health."""

from __future__ import annotations

import asyncio
import re

import html5lib
import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from familiar.config.load import config_hash
from familiar.config.schema import Config
from familiar.engine import EngineStats
from familiar.errors import ClusterError
from familiar.service import PoolView, Readiness, ReplicaView
from tests.serve_app.api import bakery
from tests.serve_app.api.conftest import client
from tests.serve_app.api.local_backend import LocalBackend

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sample.labels.values())
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


async def test_totals_add_up_over_runs(http: httpx.AsyncClient, backend: LocalBackend) -> None:
    ids = [
        (await http.post("/v1/runs", json={"goal": bakery.GOAL})).json()["run_id"] for _ in range(3)
    ]
    await bakery.bake(backend, ids[0])
    await bakery.bake(backend, ids[1])
    response = await http.get("/metrics", headers=OPENMETRICS)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    found = samples(response.text)
    assert found["familiar_runs_submitted_total"] == {(): 3}
    assert found["familiar_runs_ended_total"]["succeeded",] == 2
    assert found["familiar_runs_ended_total"]["failed",] == 0
    assert found["familiar_runs_open"]["running",] == 1
    attempts = found["familiar_call_attempts_total"]
    assert attempts["naughty", "succeeded"] == 2
    assert attempts["naughty", "backend_stalled"] == 2
    assert attempts["orchestrator", "succeeded"] == 2
    assert found["familiar_tokens_total"]["naughty", "output"] == 440
    assert found["familiar_call_seconds_total"]["naughty", "backend_stalled"] == 120


async def test_totals_hold_no_ids(http: httpx.AsyncClient, backend: LocalBackend) -> None:
    run_id = (await http.post("/v1/runs", json={"goal": bakery.GOAL})).json()["run_id"]
    await bakery.bake(backend, run_id)
    text = (await http.get("/metrics", headers=OPENMETRICS)).text
    assert "familiar_tokens_total" in text
    for identity in (run_id, "page-index", "plan-1"):
        assert identity not in text


async def test_every_replica_of_the_api_gives_the_same_totals(
    config: Config, backend: LocalBackend, http: httpx.AsyncClient
) -> None:
    run_id = (await http.post("/v1/runs", json={"goal": bakery.GOAL})).json()["run_id"]
    await bakery.bake(backend, run_id)
    async with client(config, backend) as other:
        assert (await other.get("/metrics")).text == (await http.get("/metrics")).text


async def test_a_scraper_that_asks_for_nothing_gets_plain_text(http: httpx.AsyncClient) -> None:
    response = await http.get("/metrics", headers={"Accept": "*/*"})
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "familiar_runs_submitted_total 0.0" in response.text


async def test_pools_show_every_replica(http: httpx.AsyncClient, backend: LocalBackend) -> None:
    stats = EngineStats(running=1, tokens_per_s=18.7)
    replica = ReplicaView("smol:0", "smol", "ready", "", ("core:0",), "n", 4, 1, stats)
    backend.views = (PoolView("smol", "vllm", "m", ("naughty",), 2, (replica,)),)
    (pool,) = (await http.get("/v1/pools")).json()["pools"]
    assert (pool["queued"], pool["aliases"]) == (2, ["naughty"])
    assert pool["replicas"][0]["devices"] == ["core:0"]
    assert pool["replicas"][0]["stats"]["tokens_per_s"] == 18.7


async def test_readiness_says_what_is_missing(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    assert (await http.get("/readyz")).json() == {"ready": True}
    backend.ready = Readiness(False, ("Replica smol:0 is starting.", "Replica smol:1 is starting."))
    response = await http.get("/readyz")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["reasons"] == list(backend.ready.reasons)
    assert (await http.get("/healthz")).status_code == 200


async def test_without_an_orchestrator_the_process_is_alive_and_not_ready(
    http: httpx.AsyncClient, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Readiness:
        raise ClusterError("There is no orchestrator.")

    monkeypatch.setattr(backend, "readiness", away)
    assert (await http.get("/healthz")).status_code == 200
    response = await http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["There is no orchestrator."]


async def test_readiness_does_not_wait_for_an_orchestrator_that_hangs(
    http: httpx.AsyncClient, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> Readiness:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(backend, "readiness", hangs)
    response = await http.get("/readyz")
    assert response.status_code == 503
    assert "did not answer" in response.json()["reasons"][0]


async def test_the_deployment_names_its_database(
    http: httpx.AsyncClient, backend: LocalBackend, config: Config
) -> None:
    found = (await http.get("/v1/deployment")).json()
    assert found["store_id"] == backend.reader.store_id
    assert found["config_hash"] == config_hash(config)


async def test_the_page_of_the_api_shows_every_operation_and_asks_nobody(
    config: Config, backend: LocalBackend, http: httpx.AsyncClient
) -> None:
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    schema = (await http.get("/openapi.json")).json()
    for path in schema["paths"]:
        assert f"<code>{path}</code>" in page.text
    assert "<script" not in page.text
    assert re.findall(r"(?:src|href)=[\"']?([^\s>\"']+)", page.text) == ["/docs.css"]
    assert (await http.get("/docs.css")).headers["content-type"].startswith("text/css")
    html5lib.HTMLParser(strict=False).parse(page.text)
    async with client(config, backend, ("0" * 64,)) as closed:
        assert (await closed.get("/docs")).status_code == 200
