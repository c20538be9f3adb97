"""The description is complete, and its examples are what the API really gives and takes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from familiar.config.schema import Config
from familiar.explain.diff import RunDiff
from familiar.explain.explanation import Explanation
from serve_app import examples
from serve_app.models import (
    ArtifactList,
    CallDetail,
    CallList,
    CancelAccepted,
    Deployment,
    Plan,
    PoolList,
    RunAccepted,
    RunDetail,
    RunPage,
    Session,
)
from serve_app.problems import Problem
from tests.serve_app.api.conftest import client
from tests.serve_app.api.local_backend import LocalBackend

OPERATIONS = {
    ("post", "/v1/runs"),
    ("get", "/v1/deployment"),
    ("get", "/v1/runs"),
    ("get", "/v1/runs/{run_id}"),
    ("get", "/v1/runs/{run_id}/plan"),
    ("get", "/v1/runs/{run_id}/calls"),
    ("get", "/v1/runs/{run_id}/calls/{call_id}"),
    ("get", "/v1/runs/{run_id}/artifacts"),
    ("get", "/v1/runs/{run_id}/artifacts/{path}"),
    ("get", "/v1/runs/{run_id}/explain"),
    ("get", "/v1/runs/{run_id}/diff/{other}"),
    ("get", "/v1/runs/{run_id}/log"),
    ("get", "/v1/runs/{run_id}/texts/{digits}"),
    ("get", "/v1/runs/{run_id}/events"),
    ("post", "/v1/runs/{run_id}/cancel"),
    ("post", "/v1/sessions/{session_id}/runs"),
    ("get", "/v1/sessions/{session_id}"),
    ("get", "/v1/pools"),
    ("get", "/metrics"),
    ("get", "/healthz"),
    ("get", "/readyz"),
}


@pytest.fixture
async def schema(http: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get("/openapi.json")).json()
    return found


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


async def test_these_are_the_operations(schema: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(schema)} == OPERATIONS


async def test_every_operation_says_what_it_does_and_shows_it(schema: dict[str, Any]) -> None:
    for method, path, operation in operations(schema):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        good = {s: r for s, r in operation["responses"].items() if s.startswith("2")}
        assert good, where
        for status, response in good.items():
            assert response["description"] != "Successful Response", where
            for media_type, content in response["content"].items():
                assert "example" in content, f"{where} {status} {media_type}"
        for parameter in operation.get("parameters", []):
            assert parameter["description"], f"{where} {parameter['name']}"


async def test_every_error_is_described_as_a_problem(schema: dict[str, Any]) -> None:
    for method, path, operation in operations(schema):
        for status, response in operation["responses"].items():
            if status[0] in "45":
                (media_type,) = response["content"]
                assert media_type == "application/problem+json", f"{method} {path} {status}"
                content = response["content"][media_type]
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                Problem.model_validate(content["example"])
    assert "HTTPValidationError" not in schema["components"]["schemas"]


async def test_operations_that_take_input_say_how_it_is_rejected(schema: dict[str, Any]) -> None:
    for method, path, operation in operations(schema):
        if operation.get("parameters") or "requestBody" in operation:
            assert "422" in operation["responses"], f"{method} {path}"
        if "{run_id}" in path or "{session_id}" in path:
            assert "404" in operation["responses"], f"{method} {path}"


async def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    names = set(schema["components"]["schemas"])

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [ref for value in node.values() for ref in references(value)]
        if isinstance(node, list):
            return [ref for value in node for ref in references(value)]
        return []

    found = {ref.removeprefix("#/components/schemas/") for ref in references(schema)}
    assert found
    assert found <= names


async def test_operation_ids_are_unique(schema: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(set(ids)) == len(ids)


async def test_keys_are_described_where_they_are_asked_for(
    config: Config, backend: LocalBackend
) -> None:
    async with client(config, backend, ("0" * 64,)) as http:
        refused = await http.get("/openapi.json")
        assert refused.status_code == 401
    from serve_app.api import create_api

    schema = create_api(config, backend, digests=("0" * 64,)).openapi()
    assert schema["security"] == [{"key": []}]
    for _, path, operation in operations(schema):
        if path in {"/healthz", "/readyz"}:
            assert operation["security"] == []
        else:
            assert "401" in operation["responses"]


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (RunAccepted, examples.RUN_ACCEPTED),
        (CancelAccepted, examples.CANCEL_ACCEPTED),
        (RunPage, examples.RUN_PAGE),
        (RunDetail, examples.RUN_DETAIL),
        (Plan, examples.PLAN),
        (CallList, examples.CALL_LIST),
        (CallDetail, examples.CALL_DETAIL),
        (ArtifactList, examples.ARTIFACT_LIST),
        (Session, examples.SESSION),
        (Explanation, examples.EXPLANATION),
        (RunDiff, examples.RUN_DIFFERENCE),
        (PoolList, examples.POOL_LIST),
        (Deployment, examples.DEPLOYMENT),
    ],
)
def test_examples_are_complete(model: type[object], example: dict[str, Any]) -> None:
    assert to_jsonable_python(TypeAdapter(model).validate_python(example)) == example


def test_the_examples_are_of_runs_that_were_recorded_together() -> None:
    run_id = examples.RUN_ACCEPTED["run_id"]
    for example in (examples.RUN_DETAIL, examples.PLAN, examples.CALL_LIST, examples.CALL_DETAIL):
        assert example["run_id"] == run_id
    for text in (examples.LOG, examples.EVENTS):
        assert run_id in text
    assert examples.SESSION["session_id"] == examples.RUN_ACCEPTED["session_id"]
    assert examples.RUN_DIFFERENCE["b"]["run_id"] == run_id
    with pytest.raises(AttributeError):
        _ = examples.NOTHING
