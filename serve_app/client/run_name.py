"""Find a run by its id, a unique prefix of it, or `@last`."""

from __future__ import annotations

from familiar.errors import InputError, NotFound
from serve_app.client.service import History

LAST = "@last"
_PAGE = 200
_PAGES = 50


def resolve_run(history: History, name: str) -> str:
    """The run's id. Raises `NotFound` for none, `InputError` for more than one."""
    if name == LAST:
        newest = history.runs(1).runs
        if not newest:
            raise NotFound(f"There are no runs in {history.where} yet.", field="run")
        return newest[0].run_id
    wanted = name.lower()
    found: list[str] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = history.runs(_PAGE, cursor)
        for run in page.runs:
            if run.run_id == name:
                return name
            # The kind in front ("r-") need not be typed.
            if run.run_id.startswith(wanted) or run.run_id.partition("-")[2].startswith(wanted):
                found.append(run.run_id)
        cursor = page.next
        if cursor is None:
            break
    if not found or not wanted:
        raise NotFound(
            f"{history.where} has no run {name or 'without a name'}.",
            field="run",
            remedy="`familiar ls` lists the runs; @last is the newest.",
        )
    if len(found) > 1:
        shown = ", ".join(found[:5]) + ("…" if len(found) > 5 else "")
        raise InputError(
            f"The prefix {name} matches {len(found)} runs: {shown}.",
            field="run",
            remedy="Give more characters of the id.",
        )
    return found[0]
