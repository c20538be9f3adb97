"""`familiar store rebuild`: rebuild the projections from the events."""

from __future__ import annotations

import typer

from familiar.errors import ClusterError, InputError
from serve_app.cli.exit_code import HELP
from serve_app.cli.options import ConfigFile, Json, Key, Overrides, read_config
from serve_app.cli.output import explained, out, print_json

app = typer.Typer(help="Work on a database.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    # Keeps `rebuild` a command of its own while it is the only one.
    pass


@app.command("rebuild", epilog=HELP)
@explained
def rebuild(
    config: ConfigFile = None, overrides: Overrides = None, key: Key = None, as_json: Json = False
) -> None:
    """Write all projections (runs, calls, files, …) anew from the recorded events.

    Events are never changed. End the service first: the command stops while one uses the database.
    """
    from actors.store.store import Store
    from serve_app.cli.source import serving

    if config is None:
        raise InputError(
            "No configuration is given; it names the database.",
            field="--config",
            remedy="Example: familiar store rebuild --config mine.yaml",
        )
    settings = read_config(config, overrides)
    service = serving(settings, key)
    if service is not None:
        service.close()
        raise ClusterError(
            f"The service at {service.url} writes this database.",
            remedy="End it first: familiar down --config …",
        )
    store = Store.open(settings.store.url, create=False)
    try:
        events = store.rebuild_projections()
    finally:
        store.close()
    if as_json:
        print_json({"events": events})
    else:
        out().print(f"Rebuilt the projections from {events} events.")
