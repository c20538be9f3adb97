"""Every error is a problem document that says what to change, and none says more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from familiar.config.schema import Config
from familiar.errors import (
    ClusterError,
    Conflict,
    EngineError,
    FamiliarError,
    InputError,
    NotFound,
    StaleEpoch,
    StoreError,
)
from serve_app.problems import Problem, status_of
from tests.serve_app.api.conftest import client
from tests.serve_app.api.local_backend import LocalBackend

JSON = {"Content-Type": "application/json"}


def read(response: httpx.Response, status: int) -> Problem:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate_json(response.content)
    assert found.status == status
    assert found.type.startswith("urn:familiar:problem:")
    assert found.instance == response.request.url.path
    assert "Traceback" not in response.text
    return found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "goal"),
        ({"goal": ""}, "goal"),
        ({"goal": " \n\t"}, "goal"),
        ({"goal": 7}, "goal"),
        ({"goal": None}, "goal"),
        ({"goal": "a\0b"}, "goal"),
        ({"goal": "x", "gaol": "y"}, "gaol"),
        ({"goal": "x", "files": "a.md"}, "files"),
        ({"goal": "x", "files": ["a.md", 3]}, "files.1"),
        ({"goal": "x", "files": ["a.md"] * 201}, "files"),
        ({"goal": "x", "files": ["../a.md"]}, "files"),
        ({"goal": "x", "files": ["/etc/passwd"]}, "files"),
        ({"goal": "x", "files": ["\ud800.md"]}, "files.0"),
        (["goal"], "body"),
        ("goal", "body"),
        (None, "body"),
    ],
)
async def test_a_field_that_is_wrong_is_named(
    http: httpx.AsyncClient, body: object, field: str
) -> None:
    found = read(await http.post("/v1/runs", content=json.dumps(body), headers=JSON), 422)
    assert found.field == field
    assert found.remedy


async def test_all_wrong_fields_are_named_at_once(http: httpx.AsyncClient) -> None:
    found = read(await http.post("/v1/runs", json={"files": 1, "more": 2}), 422)
    assert {entry.field for entry in found.errors or []} == {"goal", "files", "more"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "JSON"),
        (b'{"goal": "a"', "JSON"),
        (b"\xff\xfe\xfd", "UTF-8"),
        (b'{"goal": "caf\xe9"}', "UTF-8"),
        (b"[" * 100_000, ""),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_400(
    http: httpx.AsyncClient, content: bytes, says: str
) -> None:
    found = read(await http.post("/v1/runs", content=content, headers=JSON), 400)
    assert says in found.detail
    assert found.remedy


async def test_a_lone_surrogate_is_rejected(http: httpx.AsyncClient) -> None:
    body = rb'{"goal": "a \ud800 b"}'
    assert read(await http.post("/v1/runs", content=body, headers=JSON), 422).field == "goal"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_content_type_is_rejected(http: httpx.AsyncClient, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = await http.post("/v1/runs", content=b'{"goal": "Make `a.md`."}', headers=headers)
    assert "Content-Type: application/json" in (read(response, 415).remedy or "")


async def test_an_empty_body_is_a_missing_body(http: httpx.AsyncClient) -> None:
    assert read(await http.post("/v1/runs"), 422).field == "body"


@pytest.mark.parametrize("key", ["", "two words", "k" * 201, "tab\there"])
async def test_an_idempotency_key_that_cannot_be_one_is_rejected(
    http: httpx.AsyncClient, key: str
) -> None:
    response = await http.post(
        "/v1/runs", json={"goal": "Make `a.md`."}, headers={"Idempotency-Key": key}
    )
    assert read(response, 422).field == "header.Idempotency-Key"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/runs?limit=0", "query.limit"),
        ("/v1/runs?limit=201", "query.limit"),
        ("/v1/runs?limit=x", "query.limit"),
        ("/v1/runs?status=done", "query.status"),
        ("/v1/runs?cursor=r-nobody", "query.cursor"),
        ("/v1/runs/%00", "path.run_id"),
        ("/v1/runs/a%20b", "path.run_id"),
        (f"/v1/runs/{'r' * 101}", "path.run_id"),
        ("/v1/runs/r/texts/xyz", "path.digits"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named(
    http: httpx.AsyncClient, path: str, field: str
) -> None:
    assert read(await http.get(path), 422).field == field


async def test_what_the_router_rejects_is_a_problem_too(http: httpx.AsyncClient) -> None:
    read(await http.get("/v2/runs"), 404)
    refused = await http.delete("/v1/runs")
    assert "DELETE" in read(refused, 405).detail
    assert refused.headers["allow"]


class TestLargeBodies:
    """The limit holds before a body is read."""

    async def test_ten_megabytes_are_rejected_before_they_are_read(
        self, http: httpx.AsyncClient
    ) -> None:
        goal = json.dumps({"goal": "x" * 10_000_000}).encode()
        taken = 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal taken
            for start in range(0, len(goal), 65536):
                taken += 65536
                yield goal[start : start + 65536]

        headers = {**JSON, "Content-Length": str(len(goal))}
        found = read(await http.post("/v1/runs", content=chunks(), headers=headers), 413)
        assert str(len(goal)) in found.detail
        assert "max_goal_bytes" in (found.remedy or "")
        assert (await http.get("/v1/runs")).json()["runs"] == []

    async def test_an_endless_body_without_a_length_is_cut_off(
        self, config: Config, backend: LocalBackend
    ) -> None:
        from serve_app.api import create_api
        from serve_app.body_limit import DISCARD_BYTES, body_limit

        app = create_api(config, backend, digests=None)
        limit = body_limit(config.api.max_goal_bytes)
        taken = 0
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            nonlocal taken
            await asyncio.sleep(0)
            taken += 65536
            return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/runs",
            "raw_path": b"/v1/runs",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        await app(scope, receive, send)
        assert sent[0]["status"] == 413
        assert taken <= limit + DISCARD_BYTES + 2 * 65536

    async def test_a_goal_of_the_allowed_size_is_taken_however_it_is_escaped(
        self, http: httpx.AsyncClient, config: Config
    ) -> None:
        goal = "\x01" * (config.api.max_goal_bytes - 1) + "x"
        assert len(json.dumps({"goal": goal})) > 5 * config.api.max_goal_bytes
        response = await http.post("/v1/runs", json={"goal": goal})
        assert response.status_code == 202

    async def test_a_goal_above_the_limit_names_the_field(
        self, http: httpx.AsyncClient, config: Config
    ) -> None:
        goal = "x" * (config.api.max_goal_bytes + 1)
        found = read(await http.post("/v1/runs", json={"goal": goal}), 422)
        assert found.field == "goal"
        assert "max_goal_bytes" in (found.remedy or "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (InputError("x"), 422),
        (StoreError("x"), 503),
        (StaleEpoch("x"), 503),
        (ClusterError("x"), 503),
        (EngineError("x"), 500),
        (FamiliarError("x"), 500),
    ],
)
def test_each_error_of_ours_has_a_status(error: FamiliarError, status: int) -> None:
    assert status_of(error) == status


async def test_an_orchestrator_that_is_away_is_a_503_to_be_sent_again(
    config: Config, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise ClusterError("It went away.", remedy="Send it again.")

    monkeypatch.setattr(backend, "pools", away)
    async with client(config, backend) as http:
        response = await http.get("/v1/pools")
        assert read(response, 503).remedy == "Send it again."
        assert int(response.headers["retry-after"]) > 0


async def test_what_was_not_foreseen_says_nothing_of_the_inside(
    config: Config, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(backend, "pools", broken)
    async with client(config, backend, raise_errors=False) as http:
        response = await http.get("/v1/pools")
        read(response, 500)
        assert "swordfish" not in response.text


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["goal", "files", "x", ""]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
async def test_whatever_is_sent_the_answer_is_an_acceptance_or_a_problem(
    http: httpx.AsyncClient, body: object
) -> None:
    response = await http.post("/v1/runs", content=json.dumps(body), headers=JSON)
    if response.status_code != 202:
        read(response, response.status_code)
        assert response.status_code in {400, 422}
