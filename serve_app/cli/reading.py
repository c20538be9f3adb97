"""`familiar ls`, `show`, `log` and `calls`: recorded runs, from a service or the database."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import InputError
from familiar.safe_text import safe_line
from serve_app.cli.exit_code import code_of_outcome
from serve_app.cli.options import ConfigFile, Json, Key, Overrides, Run, Url
from serve_app.cli.output import explained, out, print_found, print_json
from serve_app.cli.source import find_history

if TYPE_CHECKING:
    from actors.store.rows import RunSummary
    from serve_app.client.service import History
    from serve_app.follow.hints import Hints

_STATUSES = ("running", "cancelling", "succeeded", "failed", "cancelled")
_COLUMNS = ("run", "session", "status", "submitted", "took", "reason")
_REASON_ROOM = 20
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


@explained
def ls(
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=200, help="Number of runs.")
    ] = 20,
    status: Annotated[
        str | None,
        typer.Option("--status", help=f"Only runs with this status: {', '.join(_STATUSES)}."),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    if status is not None and status not in _STATUSES:
        raise InputError(
            f"{status} is not a status.",
            field="--status",
            remedy=f"Use one of {', '.join(_STATUSES)}.",
        )
    from rich.table import Table
    from rich.text import Text

    page = find_history(config, overrides, url, key).runs(limit, status=status)
    if as_json:
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
    table = Table(box=None, padding=(0, 1), header_style="dim", show_edge=False)
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


@explained
def show(
    run: Run,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show progress until the run ends.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show a run: outcome, files, planner of each turn, calls, tokens, related commands.

    With --follow the exit code tells how the run ended.
    """
    from serve_app.client.run_name import resolve_run
    from serve_app.follow.follow import follow as follow_run
    from serve_app.follow.report import gather, print_report

    history = find_history(config, overrides, url, key)
    run_id = resolve_run(history, run)
    if follow:
        end = follow_run(history, run_id, out(), as_json=as_json)
        if not as_json:
            print_report(gather(history, run_id), out(), hints_of(history, config, url))
        raise typer.Exit(code_of_outcome(end.outcome))
    report = gather(history, run_id)
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report, out(), hints_of(history, config, url))


@explained
def log(
    run: Run,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print new lines until the run ends.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Print the log of a run, one line per event; with --json the events."""
    from actors.store.log_line import LogLines
    from familiar.event import Event
    from serve_app.client.run_name import resolve_run
    from serve_app.client.service import events_so_far
    from serve_app.follow.follow import write_json_line

    history = find_history(config, overrides, url, key)
    run_id = resolve_run(history, run)
    lines = LogLines()
    messages = history.stream(run_id) if follow else events_so_far(history, run_id)
    for message in messages:
        if not isinstance(message, Event):
            continue
        if as_json:
            write_json_line(message)
        else:
            print(safe_line(lines.render(message)), flush=True)


@explained
def calls(
    run: Run,
    call: Annotated[
        str | None,
        typer.Argument(
            metavar="[CALL]", help="Call id: show this call with its prompts and answers."
        ),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show the calls of a run: times, devices, tokens, failures."""
    from serve_app.client.run_name import resolve_run
    from serve_app.follow.call_table import print_call, print_calls
    from serve_app.follow.report import print_timeline
    from serve_app.follow.timeline import timeline

    history = find_history(config, overrides, url, key)
    run_id = resolve_run(history, run)
    if call is not None:
        print_found(history.call(run_id, call), print_call, as_json=as_json)
        return
    found = history.calls(run_id)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    zero = history.run(run_id).submitted_at
    print_calls(found.calls, out(), zero)
    print_timeline(timeline(found.calls, zero), out())


def hints_of(history: History, config: str | None, url: str | None) -> Hints:
    """The options that find the same source again."""
    from serve_app.follow.hints import Hints

    options = f" --url {url}" if url else f" --config {config}" if config else ""
    return Hints(options=options, where=history.where)
