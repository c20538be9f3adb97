"""Submitting, listing, looking at and cancelling runs, and going on in a session."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from actors.store.queries import Reader
from familiar.config.schema import Config
from tests.serve_app.api import bakery
from tests.serve_app.api.local_backend import LocalBackend


async def submit(http: httpx.AsyncClient, goal: str = bakery.GOAL, **more: str) -> str:
    response = await http.post("/v1/runs", json={"goal": goal}, headers=more)
    assert response.status_code == 202, response.text
    return str(response.json()["run_id"])


async def test_a_submission_is_committed_when_it_is_acknowledged(
    http: httpx.AsyncClient, config: Config
) -> None:
    response = await http.post("/v1/runs", json={"goal": bakery.GOAL})
    accepted = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/v1/runs/{accepted['run_id']}"
    assert accepted["created"] is True
    other = Reader.open(config.store.url)
    try:
        (event,) = other.events(accepted["run_id"])
        assert other.text(event.body.goal.sha256) == bakery.GOAL  # type: ignore[union-attr]
        assert event.body.files == ("index.html",)  # type: ignore[union-attr]
    finally:
        other.close()
    assert (await http.get(response.headers["Location"])).json()["goal"] == bakery.GOAL


async def test_files_of_the_request_override_those_that_the_goal_names(
    http: httpx.AsyncClient,
) -> None:
    response = await http.post("/v1/runs", json={"goal": bakery.GOAL, "files": ["a.md"]})
    found = (await http.get(response.headers["Location"])).json()
    assert found["files_wanted"] == ["a.md"]


async def test_the_same_key_means_the_same_run(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "bakery-1"}
    first = await http.post("/v1/runs", json={"goal": bakery.GOAL}, headers=key)
    again = await http.post("/v1/runs", json={"goal": bakery.GOAL}, headers=key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {**first.json(), "created": False}
    assert again.headers["Location"] == first.headers["Location"]
    assert len((await http.get("/v1/runs")).json()["runs"]) == 1


async def test_the_same_key_with_another_goal_is_rejected(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "bakery-1"}
    first = await http.post("/v1/runs", json={"goal": bakery.GOAL}, headers=key)
    other = await http.post("/v1/runs", json={"goal": "Make `b.html`."}, headers=key)
    assert other.status_code == 409
    assert other.json()["field"] == "Idempotency-Key"
    assert first.json()["run_id"] in other.json()["detail"]


async def test_many_requests_with_one_key_at_once_make_one_run(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "at-once"}
    responses = await asyncio.gather(
        *(http.post("/v1/runs", json={"goal": bakery.GOAL}, headers=key) for _ in range(8))
    )
    assert sorted(r.status_code for r in responses) == [200] * 7 + [202]
    assert len({r.json()["run_id"] for r in responses}) == 1


async def test_runs_are_listed_newest_first_page_by_page(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    ids = [await submit(http) for _ in range(5)]
    await bakery.bake(backend, ids[0])
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await http.get("/v1/runs", params=query)).json()
        seen += [run["run_id"] for run in page["runs"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == ids[::-1]
    only = (await http.get("/v1/runs", params={"status": "succeeded"})).json()
    assert [run["run_id"] for run in only["runs"]] == [ids[0]]


async def test_a_run_says_where_it_stands(http: httpx.AsyncClient, backend: LocalBackend) -> None:
    run_id = await submit(http)
    begun = (await http.get(f"/v1/runs/{run_id}")).json()
    assert (begun["status"], begun["files_made"], begun["last_seq"]) == ("running", [], 1)
    await bakery.bake(backend, run_id)
    ended = (await http.get(f"/v1/runs/{run_id}")).json()
    assert ended["status"] == "succeeded"
    assert ended["files_made"] == ended["files_wanted"] == ["index.html"]
    assert ended["last_seq"] == bakery.LAST_SEQ
    assert ended["output_tokens"] == 440
    assert ended["calls"] == {"succeeded": 1, "published": 1, "skipped": 1}
    claimed, listed = ended["syntheses"]
    assert (claimed["text"], claimed["adopted"]) == (bakery.CLAIM, False)
    assert "nothing.html" in claimed["reason"]
    assert (claimed["prompt_name"], claimed["diff"]) == ("synthesis/final", None)
    assert (listed["text"], listed["adopted"]) == (bakery.ANSWER, True)
    assert (listed["previous"], listed["diff"]) == (1, bakery.DIFF)
    assert listed["inputs"] == ["page-index"]


async def test_a_cancelled_run_stays_as_it_is(http: httpx.AsyncClient) -> None:
    run_id = await submit(http)
    first = await http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "wrong goal"})
    assert (first.status_code, first.json()["status"]) == (202, "cancelled")
    seq = (await http.get(f"/v1/runs/{run_id}")).json()["last_seq"]
    again = await http.post(f"/v1/runs/{run_id}/cancel")
    assert (again.status_code, again.json()["status"]) == (202, "cancelled")
    found = (await http.get(f"/v1/runs/{run_id}")).json()
    assert (found["last_seq"], found["reason"]) == (seq, "wrong goal")


async def test_a_session_goes_on_with_its_workspace(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    run_id = await submit(http)
    first = (await http.get(f"/v1/runs/{run_id}")).json()
    path = f"/v1/sessions/{first['session_id']}"
    early = await http.post(f"{path}/runs", json={"goal": "Now `about.html`."})
    assert early.status_code == 409
    assert run_id in early.json()["detail"]
    await bakery.bake(backend, run_id)
    second = (await http.post(f"{path}/runs", json={"goal": "Now `about.html`."})).json()
    assert second["session_id"] == first["session_id"]
    assert second["run_id"] != run_id
    session = (await http.get(path)).json()
    assert [run["run_id"] for run in session["runs"]] == [run_id, second["run_id"]]
    assert session["workspace"] == first["workspace"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/r-nobody",
        "/v1/runs/r-nobody/plan",
        "/v1/runs/r-nobody/calls",
        "/v1/runs/r-nobody/calls/x",
        "/v1/runs/r-nobody/artifacts",
        "/v1/runs/r-nobody/artifacts/x",
        "/v1/runs/r-nobody/log",
        "/v1/runs/r-nobody/events",
        "/v1/runs/r-nobody/texts/0123456789ab",
        "/v1/sessions/s-nobody",
    ],
)
async def test_what_is_not_there_is_a_404_that_names_it(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "nobody" in response.json()["detail"]


async def test_nothing_begins_in_a_session_or_is_cancelled_in_a_run_that_is_not_there(
    http: httpx.AsyncClient,
) -> None:
    begun = await http.post("/v1/sessions/s-nobody/runs", json={"goal": "Make `a.html`."})
    cancelled = await http.post("/v1/runs/r-nobody/cancel", json={})
    assert (begun.status_code, cancelled.status_code) == (404, 404)
    assert (await http.get("/v1/runs")).json()["runs"] == []
