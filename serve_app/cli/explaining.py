"""`familiar explain` and `familiar diff`: why a run went as it did, and how two runs differ."""

from __future__ import annotations

from typing import Annotated

import typer

from serve_app.cli.options import ConfigFile, Json, Key, Overrides, Run, Url
from serve_app.cli.output import explained, print_found
from serve_app.cli.source import find_history

OtherRun = Annotated[
    str, typer.Argument(metavar="OTHER", help="Run to compare with: id, unique prefix, or @last.")
]


@explained
def explain(
    run: Run,
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Explain why a run failed or was slow: causes, evidence, changes to make.

    The explanation is derived from the run's events; #12 stands for event 12.
    """
    from serve_app.client.run_name import resolve_run
    from serve_app.follow.explanation import print_explanation

    history = find_history(config, overrides, url, key)
    found = history.explanation(resolve_run(history, run))
    print_found(found, print_explanation, as_json=as_json)


@explained
def diff(
    run: Run,
    other: OtherRun,
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Compare two runs: prompts, plans, routes, tokens, times, outcomes, answers."""
    from serve_app.client.run_name import resolve_run
    from serve_app.follow.explanation import print_difference

    history = find_history(config, overrides, url, key)
    found = history.difference(resolve_run(history, run), resolve_run(history, other))
    print_found(found, print_difference, as_json=as_json)
