"""`familiar ls`, `show`, `log`, `calls`, `explain` and `diff`: recorded runs, read from a service
or from the database."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import InputError
from familiar.safe_text import safe_line
from serve_app.cli.options import Run
from serve_app.cli.output import code_of_outcome, out, print_found, print_json
from serve_app.cli.source import Source, with_source

if TYPE_CHECKING:
    from actors.store.rows import RunSummary

OtherRun = Annotated[
    str, typer.Argument(metavar="OTHER", help="Run to compare with: id, unique prefix, or @last.")
]
_STATUSES = ("running", "cancelling", "succeeded", "failed", "cancelled")
_COLUMNS = ("run", "session", "status", "submitted", "took", "reason")
_REASON_ROOM = 20
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


@with_source
def ls(
    source: Source,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=200, help="Number of runs.")
    ] = 20,
    status: Annotated[
        str | None,
        typer.Option("--status", help=f"Only runs with this status: {', '.join(_STATUSES)}."),
    ] = None,
) -> None:
    """List runs, newest first."""
    if status is not None and status not in _STATUSES:
        raise InputError(
            f"{status} is not a status.",
            field="--status",
            remedy=f"Use one of {', '.join(_STATUSES)}.",
        )
    from rich.text import Text

    from serve_app.cli.console import grid

    page = source.history().runs(limit, status=status)
    if source.as_json:
        print_json(page.model_dump(mode="json"))
        return
    console = out()
    if not page.runs:
        console.print("There are no runs.")
        return
    rows = [_row(run) for run in page.runs]
    # Ids that are cut cannot be copied: whole columns give way to a narrow terminal, and only the
    # reason is ever shortened.
    names, room = list(_COLUMNS), 0
    for gives_way in ("", "reason", "session", "took"):
        names = [name for name in names if name != gives_way]
        fixed = [name for name in names if name != "reason"]
        wide = sum(max(len(row[name]) for row in (*rows, {name: name})) + 2 for name in fixed)
        room = console.width - wide
        if room >= (_REASON_ROOM if "reason" in names else 0):
            break
    table = grid()
    for name in names:
        table.add_column(
            name,
            no_wrap=True,
            justify="right" if name == "took" else "left",
            overflow="ellipsis" if name == "reason" else "ignore",
            max_width=room - 2 if name == "reason" else None,
        )
    for row in rows:
        style = _STYLES.get(row["status"], "cyan")
        table.add_row(*(Text(row[name], style if name == "status" else "") for name in names))
    out(at_least=wide).print(table)


def _row(run: RunSummary) -> dict[str, str]:
    return {
        "run": run.run_id,
        "session": run.session_id,
        "status": run.status,
        "submitted": datetime.fromtimestamp(run.submitted_at).strftime("%Y-%m-%d %H:%M:%S"),
        "took": f"{(run.ended_at or time.time()) - run.submitted_at:.1f}s",
        "reason": safe_line(run.reason or ""),
    }


@with_source
def show(
    source: Source,
    run: Run,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show progress until the run ends.")
    ] = False,
) -> None:
    """Show a run and how it ended.

    Shows outcome, files, planner of each turn, calls, tokens and related commands. With --follow
    the exit code tells how the run ended.
    """
    from serve_app.follow.follow import follow as follow_run
    from serve_app.follow.report import gather, print_report

    history, run_id = source.recorded(run)
    if follow:
        end = follow_run(history, run_id, out(), as_json=source.as_json)
        if not source.as_json:
            print_report(gather(history, run_id), out(), source.hints(history.where))
        raise typer.Exit(code_of_outcome(end.outcome))
    report = gather(history, run_id)
    if source.as_json:
        print_json(report.as_json())
    else:
        print_report(report, out(), source.hints(history.where))


@with_source
def log(
    source: Source,
    run: Run,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print new lines until the run ends.")
    ] = False,
) -> None:
    """Print the log of a run, one line per event.

    With --json, print the events.
    """
    from actors.store.run_log import LogLines
    from familiar.event import Event
    from serve_app.client.service import events_so_far
    from serve_app.follow.follow import write_json_line

    history, run_id = source.recorded(run)
    lines = LogLines()
    messages = history.stream(run_id) if follow else events_so_far(history, run_id)
    for message in messages:
        if not isinstance(message, Event):
            continue
        if source.as_json:
            write_json_line(message)
        else:
            print(safe_line(lines.render(message)), flush=True)


@with_source
def calls(
    source: Source,
    run: Run,
    call: Annotated[
        str | None,
        typer.Argument(
            metavar="[CALL]", help="Call id: show this call with its prompts and answers."
        ),
    ] = None,
) -> None:
    """Show the calls of a run: times, devices, tokens, failures."""
    from serve_app.follow.call_table import print_call, print_calls
    from serve_app.follow.timeline import print_timeline

    history, run_id = source.recorded(run)
    if call is not None:
        print_found(history.call(run_id, call), print_call, as_json=source.as_json)
        return
    found = history.calls(run_id)
    if source.as_json:
        print_json(found.model_dump(mode="json"))
        return
    zero = history.run(run_id).submitted_at
    print_calls(found.calls, out(), zero)
    print_timeline(found.calls, out(), zero)


@with_source
def explain(
    source: Source,
    run: Run,
) -> None:
    """Explain why a run failed or was slow.

    Shows the causes, their evidence, and changes to make. The explanation is derived from the run's
    events; #12 stands for event 12.
    """
    from serve_app.follow.explanation import print_explanation

    history, run_id = source.recorded(run)
    found = history.explanation(run_id)
    print_found(found, print_explanation, as_json=source.as_json)


@with_source
def diff(
    source: Source,
    run: Run,
    other: OtherRun,
) -> None:
    """Compare two runs.

    Compared are prompts, plans, routes, tokens, times, outcomes and answers.
    """
    from serve_app.client.service import resolve_run
    from serve_app.follow.explanation import print_difference

    history, run_id = source.recorded(run)
    found = history.difference(run_id, resolve_run(history, other))
    print_found(found, print_difference, as_json=source.as_json)
