"""`/docs`: the API's description as one page, without scripts and without requests elsewhere.

The page is made here from the OpenAPI document and escaped throughout, so a strict policy can
forbid everything but its own style sheet. It describes the software and not this deployment:
therefore it needs no key. Viewers such as Swagger UI would bring 1.4 MB of scripts for a form that
sends requests, and `curl` lines, which are here for every operation, can be copied instead.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Response

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"
_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace; }
pre { overflow: auto; padding: 0.75rem; border: 1px solid; border-radius: 4px; }
pre { max-height: 24rem; }
summary { cursor: pointer; padding: 0.4rem 0; }
summary b { display: inline-block; min-width: 3.5rem; }
details { border-bottom: 1px solid; }
td, th { text-align: left; vertical-align: top; padding: 0.15rem 1rem 0.15rem 0; }
"""


def docs_routes(app: FastAPI) -> APIRouter:
    """The page and its style. They are not part of the description that they show."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def get_docs() -> Response:
        page = "".join(_page(app.openapi()))
        return Response(page, media_type="text/html", headers=_HEADERS)

    @router.get("/docs.css")
    async def get_style() -> Response:
        return Response(_STYLE, media_type="text/css", headers=_HEADERS)

    return router


def _page(schema: Mapping[str, Any]) -> Iterator[str]:
    info = schema["info"]
    title = f"{info['title']} {info['version']}"
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
    yield "<meta name=viewport content='width=device-width'><link rel=stylesheet href=/docs.css>"
    yield f"<h1>{escape(title)}</h1><p>{escape(info['summary'])}</p>"
    yield f"<p>{escape(info['description'])} The same as JSON: <code>/openapi.json</code>"
    yield ", with a key where keys are asked for." if schema.get("security") else "."
    yield "</p>"
    for tag in schema.get("tags", []):
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                if operation["tags"] == [tag["name"]]:
                    yield from _operation(method, path, operation, schema)


def _operation(
    method: str, path: str, operation: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    yield f"<details id={escape(operation['operationId'])}><summary><b>{method.upper()}</b> "
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield "<table>"
        for parameter in parameters:
            yield f"<tr><td><code>{escape(parameter['name'])}</code><td>{escape(parameter['in'])}"
            yield f"<td>{escape(parameter.get('description', ''))}"
        yield "</table>"
    body = _body_example(operation, schema)
    yield f"<pre>{escape(_curl(method, path, body, operation))}</pre>"
    for status, answer in operation["responses"].items():
        yield f"<p><b>{escape(status)}</b> {escape(answer['description'])}</p>"
        for media_type, content in answer.get("content", {}).items():
            if status.startswith("2") and (example := content.get("example")) is not None:
                text = (
                    example
                    if isinstance(example, str)
                    else json.dumps(example, indent=2, ensure_ascii=False)
                )
                yield f"<p><code>{escape(media_type)}</code></p><pre>{escape(text)}</pre>"
    yield "</details>"


def _body_example(operation: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """An example of the request's body, from the examples of its fields."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    wanted = content.get("schema", {})
    for option in (wanted, *wanted.get("anyOf", [])):
        if name := option.get("$ref", "").rpartition("/")[2]:
            fields = schema["components"]["schemas"][name]["properties"]
            return {
                key: field["examples"][0] for key, field in fields.items() if "examples" in field
            }
    return None


def _curl(method: str, path: str, body: Any, operation: Mapping[str, Any]) -> str:
    words = ["curl"]
    if method != "get":
        words += ["-X", method.upper()]
    if operation.get("security") != []:
        words.append('-H "Authorization: Bearer $FAMILIAR_KEY"')
    if body is not None:
        words += ["-H 'Content-Type: application/json'", "-d", shlex.quote(json.dumps(body))]
    return " ".join([*words, shlex.quote(f"http://127.0.0.1:8321{path}")])
