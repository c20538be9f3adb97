"""`familiar pools` and `familiar cancel`: commands that need a running deployment."""

from __future__ import annotations

from typing import Annotated

import typer

from serve_app.cli.options import ConfigFile, Json, Key, Overrides, Run, Url, read_config
from serve_app.cli.output import explained, out, print_json
from serve_app.cli.source import find_service


@explained
def pools(
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show pools and replicas: devices, state, calls in flight, tokens/s."""
    from rich.table import Table

    settings = read_config(config, overrides) if config is not None else None
    service = find_service(settings, url, key)
    found = service.pools()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    console = out()
    for pool in found.pools:
        console.print(
            f"pool {pool.pool}: {pool.engine} {pool.model}, {pool.queued} queued; "
            f"for {', '.join(pool.aliases) or 'no alias'}",
            soft_wrap=True,
        )
        table = Table(box=None, padding=(0, 1), header_style="dim", show_edge=False)
        for name in ("replica", "state", "devices", "node"):
            table.add_column(name)
        for name in ("in flight", "tok/s", "output", "cached"):
            table.add_column(name, justify="right")
        table.add_column("detail", overflow="fold")
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
                replica.detail,
            )
        console.print(table)


@explained
def cancel(
    run: Run,
    reason: Annotated[str, typer.Option("--reason", help="Reason to record.")] = "",
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Cancel a run and stop its calls. A run that has ended is not changed."""
    from serve_app.client.run_name import resolve_run

    settings = read_config(config, overrides) if config is not None else None
    service = find_service(settings, url, key)
    answer = service.cancel(resolve_run(service, run), reason)
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        out().print(f"{answer.run_id} is {answer.status}")
