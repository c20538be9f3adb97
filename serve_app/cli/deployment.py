"""`familiar pools`, `cancel` and `store rebuild`: commands on a deployment and its database."""

from __future__ import annotations

from typing import Annotated

import typer

from familiar.errors import ClusterError
from serve_app.cli.options import ConfigFile, Json, Key, Overrides, Run, need_config
from serve_app.cli.output import HELP, explained, out, print_json
from serve_app.cli.source import Source, serving, with_source

store = typer.Typer(help="Work on a database.", no_args_is_help=True, rich_markup_mode=None)


@with_source
def pools(
    source: Source,
) -> None:
    """Show pools and replicas.

    For each replica: devices, state, calls in flight, tokens/s.
    """
    from serve_app.cli.console import grid

    service = source.service()
    found = service.pools()
    if source.as_json:
        print_json(found.model_dump(mode="json"))
        return
    console = out()
    for pool in found.pools:
        console.print(
            f"pool {pool.pool}: {pool.engine} {pool.model}, {pool.queued} queued; "
            f"for {', '.join(pool.aliases) or 'no alias'}",
            soft_wrap=True,
        )
        table = grid()
        for name in ("replica", "state"):
            table.add_column(name, no_wrap=True, overflow="fold")
        for name in ("devices", "node"):
            table.add_column(name, overflow="fold")
        for name in ("in flight", "tok/s", "output", "cached"):
            table.add_column(name, justify="right")
        for replica in pool.replicas:
            stats = replica.stats
            table.add_row(
                replica.replica,
                replica.state,
                "; ".join(replica.devices),
                replica.node,
                f"{replica.in_flight}/{replica.slots}",
                f"{stats.tokens_per_s:.1f}",
                str(stats.output_tokens),
                str(stats.cached_tokens),
            )
        console.print(table)
        for replica in pool.replicas:
            if replica.detail:
                console.print(f"  {replica.replica}: {replica.detail}", soft_wrap=True)


@with_source
def cancel(
    source: Source,
    run: Run,
    reason: Annotated[str, typer.Option("--reason", help="Reason to record.")] = "",
) -> None:
    """Cancel a run and stop its calls. A run that has ended is not changed."""
    from serve_app.client.service import resolve_run

    service = source.service()
    answer = service.cancel(resolve_run(service, run), reason)
    if source.as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        out().print(f"{answer.run_id} is {answer.status}")


@store.callback()
def _group() -> None:
    # Keeps `rebuild` a command of its own while it is the only one.
    pass


@store.command("rebuild", epilog=HELP)
@explained
def rebuild(
    config: ConfigFile = None, overrides: Overrides = None, key: Key = None, as_json: Json = False
) -> None:
    """Rebuild all projections from the recorded events.

    Projections are the tables of runs, calls and files. Events are never changed. End the service
    first: the command stops while one uses the database.
    """
    from actors.store.store import Store

    example = "familiar store rebuild --config mine.yaml"
    settings = need_config(config, overrides, example=example)
    service = serving(settings, key)
    if service is not None:
        service.close()
        raise ClusterError(
            f"The service at {service.url} writes this database.",
            remedy="End it first: familiar down --config …",
        )
    opened = Store.open(settings.store.url, create=False)
    try:
        events = opened.rebuild_projections()
    finally:
        opened.close()
    if as_json:
        print_json({"events": events})
    else:
        out().print(f"Rebuilt the projections from {events} events.")
