"""`familiar config check` and `familiar doctor`: problems of a configuration and this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.options import ConfigFile, Json, Overrides, read_config
from serve_app.cli.output import HELP, ExitCode, explained, out, print_json

if TYPE_CHECKING:
    from pydantic import JsonValue

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "missing": ("✗", "bold red")}
config = typer.Typer(
    help="Work with configuration files.", no_args_is_help=True, rich_markup_mode=None
)


@config.callback()
def _group() -> None:
    # Keeps `check` a command of its own while it is the only one.
    pass


@config.command("check", epilog=HELP)
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


@explained
def doctor(config: ConfigFile = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check this machine, and a configuration.

    With --config, checks also everything that the configuration needs; each server that it names at
    a URL gets one small real call. Exits with 4 when something required is missing.
    """
    from rich.text import Text

    from serve_app.doctor.deployment import look_at_deployment
    from serve_app.doctor.machine import look_at_machine

    checks = look_at_machine()
    if config is not None:
        checks += look_at_deployment(read_config(config, overrides), os.environ, calls=True)
    lacking = [check for check in checks if check.state == "missing"]
    if as_json:
        found: list[JsonValue] = [
            {
                "name": check.name,
                "state": check.state,
                "detail": check.detail,
                "remedy": check.remedy or None,
            }
            for check in checks
        ]
        print_json({"ready": not lacking, "checks": found})
    else:
        console = out()
        for check in checks:
            mark, style = _MARKS[check.state]
            console.print(
                Text.assemble((f"{mark} ", style), (check.name, "bold"), f": {check.detail}"),
                soft_wrap=True,
            )
            if check.remedy:
                console.print(Text(f"    → {check.remedy}", "yellow"), soft_wrap=True)
        if lacking:
            console.print(Text(f"{len(lacking)} required thing(s) missing.", "bold red"))
        elif config is None:
            console.print("Nothing is missing. Add --config FILE to check a configuration too.")
        else:
            console.print("Nothing is missing.")
    if lacking:
        raise typer.Exit(ExitCode.UNAVAILABLE)
