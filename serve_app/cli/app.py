"""The commands of `familiar`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import familiar
from serve_app.cli import checking, deployment, reading
from serve_app.cli.down import down
from serve_app.cli.output import HELP
from serve_app.cli.run import run
from serve_app.cli.serve import serve

app = typer.Typer(
    name="familiar",
    help="One goal, many small model calls on your own GPUs, and a recorded reason for each.",
    epilog=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"familiar {familiar.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command("serve", epilog=HELP)(serve)
app.command("down", epilog=HELP)(down)
app.command("run", epilog=HELP)(run)
app.command("ls", epilog=HELP)(reading.ls)
app.command("show", epilog=HELP)(reading.show)
app.command("log", epilog=HELP)(reading.log)
app.command("calls", epilog=HELP)(reading.calls)
app.command("explain", epilog=HELP)(reading.explain)
app.command("diff", epilog=HELP)(reading.diff)
app.command("cancel", epilog=HELP)(deployment.cancel)
app.command("pools", epilog=HELP)(deployment.pools)
app.command("doctor", epilog=HELP)(checking.doctor)
app.add_typer(checking.config, name="config")
app.add_typer(deployment.store, name="store")
