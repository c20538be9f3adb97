"""The files that a run has published."""

from __future__ import annotations

from pydantic import Field

from serve_app.models.base import HttpModel


class Artifact(HttpModel):
    path: str
    call_id: str
    attempt: int
    sha256: str
    size: int
    commit: str = Field(description="the commit of the workspace's git history that holds it")
    at: float
    media_type: str


class ArtifactList(HttpModel):
    """Sorted by path; each path as it was last published by this run."""

    run_id: str
    artifacts: list[Artifact]
