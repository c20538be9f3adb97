"""The API's description: FastAPI's, with the errors, the keys and the streams as they really are.

FastAPI would promise its own validation error on every route. Here each operation names the
problems that it can answer with, all of one shape, and the text streams are described by their
media type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Path
from fastapi.openapi.utils import get_openapi

from serve_app import examples
from serve_app.auth import OPEN_PATHS
from serve_app.problems import MEDIA_TYPE, Problem, problem

Responses = dict[int | str, dict[str, Any]]
# Ids are checked for their alphabet before a database sees them.
ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"

RunId = Annotated[
    str,
    Path(description="id of a run", max_length=100, pattern=ID, examples=[examples.RUN_ID]),
]
SessionId = Annotated[
    str,
    Path(description="id of a session", max_length=100, pattern=ID, examples=[examples.SESSION_ID]),
]
CallId = Annotated[
    str,
    Path(description="id of a call", max_length=200, pattern=ID, examples=["page-index"]),
]
_REF = "#/components/schemas/{model}"
_MESSAGE: dict[str, Any] = {
    "description": "One message of the stream, as the SSE standard reads it.",
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "id": {"type": "string", "description": "seq of the event"},
        "data": {"type": "string", "description": "a JSON document"},
    },
}

_SAID: Mapping[int, tuple[str, str, str, str]] = {
    400: ("The request cannot be read", "The body is not valid JSON: Expecting value.", "", ""),
    401: (
        "No key, or one that is not known",
        "A bearer key is needed and none was sent.",
        "header.authorization",
        "Send Authorization: Bearer KEY with a key of api.keys.",
    ),
    403: (
        "A web page of another origin sent it",
        "Web pages of other origins may not send this request.",
        "header.origin",
        "Send the request from a program, or from a page of this service.",
    ),
    404: ("Not found", "There is no run run-unknown.", "run_id", "See GET /v1/runs."),
    409: (
        "It contradicts a recorded request",
        "The key was used for another goal.",
        "Idempotency-Key",
        "Send the first goal again to get that run, or a new key.",
    ),
    413: ("The body is too large", "The body has 10000000 bytes or more.", "", ""),
    415: ("The body is not JSON", "The body came as 'text/plain' and not as JSON.", "", ""),
    422: (
        "A field is wrong",
        "The goal is empty.",
        "goal",
        "Describe the goal in words.",
    ),
    503: (
        "Not available now; see Retry-After",
        "The orchestrator went away; it is being restarted.",
        "",
        "Send it again (with the same Idempotency-Key, if it was a submission).",
    ),
}


def problems(*statuses: int) -> Responses:
    """What an operation may answer besides success, with an example of each."""
    return {status: _described(status) for status in statuses}


def _described(status: int) -> dict[str, Any]:
    description, detail, field, remedy = _SAID[status]
    example = problem(status, detail, instance="/v1/runs", field=field, remedy=remedy)
    return {
        "description": description,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": _REF.format(model="Problem")},
                "example": example.model_dump(exclude_none=True),
            }
        },
    }


def answers(
    description: str, example: object, *, media_type: str = "application/json", status: int = 200
) -> Responses:
    """A success with an example. A stream is described by one of its messages, and other media
    types than JSON as text."""
    content: dict[str, Any] = {"example": example}
    if media_type == "text/event-stream":
        content["schema"] = _MESSAGE
    elif media_type != "application/json":
        content["schema"] = {"type": "string"}
    return {status: {"description": description, "content": {media_type: content}}}


def describe(app: FastAPI, *, bearer: bool) -> None:
    """Replace `app.openapi` by one that is complete; `bearer` says whether keys are asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(app, bearer)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(app: FastAPI, bearer: bool) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    own = Problem.model_json_schema(ref_template=_REF)
    schemas.update(own.pop("$defs", {}))
    schemas["Problem"] = own
    if bearer:
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "A key of api.keys."}
        }
        schema["security"] = [{"key": []}]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            answered = operation["responses"]
            if method == "post":
                answered.setdefault("403", _described(403))
            if answered.get("422", {}).get("content", {}).get("application/json"):
                answered["422"] = _described(422)
            if path in OPEN_PATHS:
                operation["security"] = []
            elif bearer:
                answered.setdefault("401", _described(401))
    return schema
