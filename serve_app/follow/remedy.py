"""Advice about a failure, by its class: one sentence each."""

from __future__ import annotations

from familiar.errors import FailureClass
from familiar.failure import FAILURES


def remedy_of(failure_class: str | None, *, run: str, session: str) -> str:
    """The sentence for this run, or nothing for a class that is not known."""
    try:
        found = FAILURES[FailureClass(failure_class or "")].advice
    except ValueError:
        return ""
    return found.replace(" RUN ", f" {run} ").replace("SESSION", session)
