"""Every error of the API as an RFC 9457 problem document that names the field and the remedy.

One function turns each kind of error into a `Problem`: our own tree (`familiar.errors`), requests
that do not validate, errors of the router, and, last, unexpected errors. The last kind
is logged where it happened and tells the client nothing but that it happened: no stack trace, no
message of a library ever leaves the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from familiar.errors import (
    ClusterError,
    Conflict,
    FamiliarError,
    InputError,
    NotFound,
    StoreError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class FieldProblem(BaseModel):
    """One field that was rejected."""

    model_config = ConfigDict(extra="forbid")

    field: str = Field(description="where it stands, e.g. `goal` or `query.limit`")
    message: str


class Problem(BaseModel):
    """RFC 9457. `field` and `remedy` name the change to make; `errors` lists several fields."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="stable name of the kind of problem, a URN")
    title: str
    status: int
    detail: str
    instance: str = Field(description="the path that was asked for")
    field: str | None = None
    remedy: str | None = None
    errors: list[FieldProblem] | None = None
    reasons: list[str] | None = None


_KINDS: Mapping[int, str] = {
    400: "malformed-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    421: "misdirected-request",
    422: "invalid-request",
    500: "internal",
    503: "unavailable",
}
_REMEDIES: Mapping[int, str] = {
    400: "Send a JSON object in UTF-8 with Content-Type: application/json.",
    404: "See /docs or /openapi.json for the paths.",
    405: "Use one of the methods in the Allow header.",
    413: "Shorten the goal, put the material into files of the workspace, or raise "
    "api.max_goal_bytes.",
    415: "Send JSON with Content-Type: application/json.",
}


def problem(
    status: int,
    detail: str,
    *,
    instance: str,
    field: str = "",
    remedy: str = "",
    errors: Sequence[FieldProblem] = (),
    reasons: Sequence[str] = (),
) -> Problem:
    """A problem document of HTTP `status`; empty parts are left out."""
    return Problem(
        type=f"urn:familiar:problem:{_KINDS.get(status, 'http')}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=instance,
        field=field or None,
        remedy=remedy or _REMEDIES.get(status),
        errors=list(errors) or None,
        reasons=list(reasons) or None,
    )


def respond(found: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    sent = dict(headers or {})
    if found.status == HTTPStatus.SERVICE_UNAVAILABLE:
        sent.setdefault("Retry-After", str(RETRY_AFTER_S))
    sent.setdefault("Cache-Control", "no-store")
    return JSONResponse(
        found.model_dump(exclude_none=True), found.status, headers=sent, media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    app.add_exception_handler(FamiliarError, _own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _rejected)
    app.add_exception_handler(Exception, _unforeseen)


def status_of(error: FamiliarError) -> int:
    """The HTTP status that says whose fault `error` is."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Conflict):
        return 409
    if isinstance(error, InputError):
        return 422
    if isinstance(error, StoreError | ClusterError):
        return 503
    return 500


async def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FamiliarError)
    return respond(
        problem(
            status_of(error),
            error.message,
            instance=request.url.path,
            field=getattr(error, "field", ""),
            remedy=error.remedy,
        )
    )


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    path = request.url.path
    first = found[0]
    if first["type"] == "json_invalid":
        reason = str(first.get("ctx", {}).get("error", "it does not parse"))
        return respond(problem(400, f"The body is not valid JSON: {reason}.", instance=path))
    if first["loc"] == ("body",) and first["type"] != "missing" and not _is_json(request):
        sent = request.headers.get("content-type", "")
        said = f"The body came as {sent!r}" if sent else "The body came without a Content-Type"
        return respond(problem(415, f"{said} and not as JSON.", instance=path))
    fields = [FieldProblem(field=_where(item["loc"]), message=_say(item)) for item in found]
    return respond(
        problem(
            422,
            "; ".join(f"{entry.field}: {entry.message}" for entry in fields),
            instance=path,
            field=fields[0].field,
            remedy=f"Change {', '.join(dict.fromkeys(entry.field for entry in fields))}.",
            errors=fields,
        )
    )


async def _rejected(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = request.url.path
    detail = str(error.detail)
    if error.status_code == 400 and isinstance(error.__cause__, UnicodeDecodeError):
        at = error.__cause__.start
        detail = f"The body is not valid UTF-8: the byte at offset {at} cannot be read."
    elif error.status_code == 404:
        detail = f"There is nothing at {path}."
    elif error.status_code == 405:
        detail = f"{request.method} is not possible at {path}."
    return respond(problem(error.status_code, detail, instance=path), error.headers)


async def _unforeseen(request: Request, _error: Exception) -> JSONResponse:
    return respond(
        problem(
            500,
            "An unexpected error happened; nothing that was acknowledged is lost.",
            instance=request.url.path,
            remedy="The log of the API replica has the details. Please report it as a bug.",
        )
    )


def _is_json(request: Request) -> bool:
    essence = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind, _, subtype = essence.partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def _where(loc: Sequence[int | str]) -> str:
    """`("body", "goal")` is `goal`; parameters keep their place: `query.limit`."""
    parts = [str(part) for part in loc]
    if len(parts) > 1 and parts[0] == "body":
        parts = parts[1:]
    return ".".join(parts)


def _say(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such field"
    text = str(item["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
