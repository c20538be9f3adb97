"""What a run did: plan, calls, texts, log, artifacts."""

from __future__ import annotations

import hashlib
import os

import httpx
import pytest

from familiar import event as ev
from tests.serve_app.api import bakery
from tests.serve_app.api.local_backend import LocalBackend


@pytest.fixture
async def run(http: httpx.AsyncClient, backend: LocalBackend) -> str:
    """The path of a finished run."""
    accepted = (await http.post("/v1/runs", json={"goal": bakery.GOAL})).json()
    await bakery.bake(backend, accepted["run_id"])
    return f"/v1/runs/{accepted['run_id']}"


async def test_the_plan_shows_its_dag_and_every_decision(http: httpx.AsyncClient, run: str) -> None:
    plan = (await http.get(f"{run}/plan")).json()
    (turn,) = plan["turns"]
    assert (turn["planner"], turn["continues"]) == ("model", False)
    assert [m["code"] for m in turn["repairs"]] == ["dedupe"]
    nodes = {node["id"]: node for node in turn["worker_calls"]}
    assert nodes["page-index"]["status"] == "published"
    assert nodes["review"]["depends_on"] == ["page-index"]
    kinds = [decision["kind"] for decision in plan["decisions"]]
    assert kinds == ["route", "plan.accepted", "route", "recovery.chosen", "route"]
    recovery = plan["decisions"][3]
    assert (recovery["choice"], recovery["reasons"]) == (
        "retry_elsewhere",
        ["The replica stalled."],
    )


async def test_calls_show_when_each_attempt_waited_ran_and_ended(
    http: httpx.AsyncClient, run: str
) -> None:
    calls = {c["call_id"]: c for c in (await http.get(f"{run}/calls")).json()["calls"]}
    assert set(calls) == {"plan-1", "page-index", "review"}
    failed, made = calls["page-index"]["attempts"]
    assert (failed["failure_class"], failed["output_tokens"]) == ("backend_stalled", 0)
    assert made["queued_at"] <= made["started_at"] < made["first_token_at"] < made["ended_at"]
    assert (made["replica"], made["repairs"]) == ("smol:1", ["fence"])
    assert calls["review"]["attempts"] == []
    assert calls["review"]["skipped_because"] == ["page-index"]


async def test_a_call_shows_every_text_of_every_attempt(http: httpx.AsyncClient, run: str) -> None:
    call = (await http.get(f"{run}/calls/page-index")).json()
    failed, made = call["attempts"]
    assert call["task"] == "the front page"
    assert (failed["raw"], failed["content"]) == ("<!doc", None)
    assert failed["failure_evidence"] == {"gap_s": 60.0}
    assert (made["prompt"], made["raw"], made["content"]) == (
        bakery.PROMPT,
        bakery.RAW,
        bakery.PAGE,
    )


async def test_every_text_that_the_log_names_can_be_read(http: httpx.AsyncClient, run: str) -> None:
    log = (await http.get(f"{run}/log")).text
    for text in (bakery.GOAL, bakery.PROMPT, bakery.RAW, bakery.PAGE, bakery.ANSWER):
        digits = hashlib.sha256(text.encode()).hexdigest()[:12]
        assert digits in log
        assert (await http.get(f"{run}/texts/{digits}")).text == text
    assert (await http.get(f"{run}/texts/{'0' * 12}")).status_code == 404


async def test_a_text_of_another_run_is_not_given(
    http: httpx.AsyncClient, backend: LocalBackend, run: str
) -> None:
    other = (await http.post("/v1/runs", json={"goal": "A secret `x.md`."})).json()["run_id"]
    digits = hashlib.sha256(b"A secret `x.md`.").hexdigest()[:12]
    assert (await http.get(f"/v1/runs/{other}/texts/{digits}")).status_code == 200
    assert (await http.get(f"{run}/texts/{digits}")).status_code == 404


async def test_the_log_has_one_line_an_event_over_all_pages(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    run_id = (await http.post("/v1/runs", json={"goal": bakery.GOAL})).json()["run_id"]
    await backend.record(run_id, *(ev.TurnStarted(turn=n) for n in range(1, 1101)))
    response = await http.get(f"/v1/runs/{run_id}/log")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    numbers = [line.split()[2] for line in response.text.splitlines()]
    assert numbers == [f"#{n}" for n in range(1, 1102)]


async def test_artifacts_are_listed_and_given_as_they_were_published(
    http: httpx.AsyncClient, run: str
) -> None:
    (listed,) = (await http.get(f"{run}/artifacts")).json()["artifacts"]
    got = await http.get(f"{run}/artifacts/{listed['path']}")
    assert got.content == bakery.PAGE.encode()
    assert hashlib.sha256(got.content).hexdigest() == listed["sha256"]
    assert (listed["size"], listed["commit"]) == (len(got.content), bakery.COMMIT)
    assert (listed["call_id"], listed["attempt"]) == ("page-index", 2)


async def test_an_artifact_is_shown_in_a_sandbox_and_as_nothing_else(
    http: httpx.AsyncClient, run: str
) -> None:
    got = await http.get(f"{run}/artifacts/index.html")
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert got.headers["x-content-type-options"] == "nosniff"
    policy = got.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


async def test_an_artifact_that_the_client_has_is_not_sent_again(
    http: httpx.AsyncClient, run: str
) -> None:
    first = await http.get(f"{run}/artifacts/index.html")
    again = await http.get(
        f"{run}/artifacts/index.html", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "../index.html",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        ".git/config",
        "index.html%00.txt",
        "INDEX.HTML",
        ".familiar/r/page-index.1.part",
    ],
)
async def test_only_published_paths_are_given(http: httpx.AsyncClient, run: str, path: str) -> None:
    response = await http.get(httpx.URL(f"http://127.0.0.1:8321{run}/artifacts/{path}"))
    assert response.status_code in {404, 422}
    assert b"root:" not in response.content


async def test_an_artifact_never_comes_from_the_disk(http: httpx.AsyncClient, run: str) -> None:
    workspace = (await http.get(run)).json()["workspace"]
    os.makedirs(workspace)
    os.symlink("/etc/passwd", f"{workspace}/index.html")
    assert (await http.get(f"{run}/artifacts/index.html")).content == bakery.PAGE.encode()
