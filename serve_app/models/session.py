"""A session: its workspace and its runs, oldest first."""

from __future__ import annotations

from serve_app.models.base import HttpModel
from serve_app.models.run import RunSummary


class Session(HttpModel):
    session_id: str
    workspace: str
    created_at: float
    runs: list[RunSummary]
