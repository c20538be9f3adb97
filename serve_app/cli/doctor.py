"""`familiar doctor`: missing requirements of this machine, each with a remedy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from serve_app.cli.exit_code import ExitCode
from serve_app.cli.options import ConfigFile, Json, Overrides, read_config
from serve_app.cli.output import explained, out, print_json

if TYPE_CHECKING:
    from pydantic import JsonValue

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "missing": ("✗", "bold red")}


@explained
def doctor(config: ConfigFile = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check this machine; with --config also everything that the configuration needs.

    Exits with 4 when something required is missing.
    """
    from rich.text import Text

    from serve_app.doctor.deployment import look_at_deployment
    from serve_app.doctor.machine import look_at_machine

    checks = look_at_machine()
    if config is not None:
        checks += look_at_deployment(read_config(config, overrides), os.environ)
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
