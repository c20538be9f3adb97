"""The files of a run, as it published them.

A file is given out of the store by the hash that its publication recorded: no path of a request
ever reaches a file system, so there is nothing to escape from and no link to follow, and a file
that was changed since is still given as the run made it. Models wrote these files: a browser shows
them in a sandbox without scripts, and never as another type than the one that is named.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from serve_app import examples, history
from serve_app.backend import Backend
from serve_app.media_type import MEDIA_TYPES, is_shown_inline, media_type_of
from serve_app.models import ArtifactList
from serve_app.openapi import RunId, answers, problems

POLICY = (
    "sandbox; default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "font-src 'self' data:; form-action 'none'; frame-ancestors 'self'"
)


def artifact_routes(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["artifacts"])

    @router.get(
        "/v1/runs/{run_id}/artifacts",
        summary="List artifacts",
        responses={**answers("The files.", examples.ARTIFACT_LIST), **problems(404, 422, 503)},
    )
    async def list_artifacts(run_id: RunId) -> ArtifactList:
        """The files that the run published, each with the call that wrote it and its commit."""
        return await backend.read(history.artifacts, run_id)

    @router.get(
        "/v1/runs/{run_id}/artifacts/{path:path}",
        summary="Get an artifact",
        response_class=Response,
        responses={
            200: {
                "description": "The file, with the media type of its name.",
                # Nothing is known of a file but its name, not even that JSON is a text.
                "content": {kind: {"schema": {}, "example": "…"} for kind in MEDIA_TYPES},
            },
            304: {"description": "The artifact is unchanged (If-None-Match)."},
            **problems(404, 422, 503),
        },
    )
    async def get_artifact(
        run_id: RunId,
        path: Annotated[
            str,
            Path(description="path from the list", max_length=500, examples=["index.html"]),
        ],
        if_none_match: Annotated[
            str | None, Header(description="ETag of the client's copy", max_length=2000)
        ] = None,
    ) -> Response:
        """The bytes of a file as this run last published it. `ETag` is their SHA-256."""
        artifact = await backend.read(history.artifact, run_id, path)
        etag = f'"{artifact.sha256}"'
        kind = "inline" if is_shown_inline(path) else "attachment"
        headers = {
            "ETag": etag,
            "Cache-Control": "private, no-cache",
            "Content-Disposition": kind,
            "Content-Security-Policy": POLICY,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if if_none_match and etag in (tag.strip() for tag in if_none_match.split(",")):
            return Response(status_code=304, headers=headers)
        data = await backend.read(history.artifact_bytes, artifact)
        return Response(data, media_type=media_type_of(path), headers=headers)

    return router
