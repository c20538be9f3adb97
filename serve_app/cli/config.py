"""`familiar config check`: check a configuration file and summarise it."""

from __future__ import annotations

from typing import Annotated

import typer

from serve_app.cli.exit_code import HELP
from serve_app.cli.options import Json, Overrides, read_config
from serve_app.cli.output import explained, out, print_json

app = typer.Typer(
    help="Work with configuration files.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _group() -> None:
    # Keeps `check` a command of its own while it is the only one.
    pass


@app.command("check", epilog=HELP)
@explained
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Configuration file (YAML).")],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Check a configuration file and list every problem in it. Starts nothing."""
    from familiar.config.load import config_hash

    found = read_config(file, overrides)
    if as_json:
        print_json(
            {
                "file": file,
                "valid": True,
                "hash": config_hash(found),
                "config": found.model_dump(mode="json"),
            }
        )
        return
    console = out()
    console.print(f"{file} is valid (hash {config_hash(found)}, deployment {found.deployment})")
    for name, pool in found.pools.items():
        aliases = [a for a, alias in found.aliases.items() if alias.pool == name]
        where = [
            replica.url
            or (f"gpus {','.join(map(str, replica.gpus))}" if replica.gpus else "")
            or (f"cores {','.join(map(str, replica.cores))}" if replica.cores else "any core")
            for replica in pool.replicas
        ]
        console.print(
            f"  pool {name}: {pool.engine} {pool.model} on {'; '.join(where)}; "
            f"for {', '.join(aliases) or 'no alias'}",
            soft_wrap=True,
        )
    console.print(f"  store {found.store.url}", soft_wrap=True)
    console.print(f"  api {found.api.host}:{found.api.port}, auth {found.api.auth}")
