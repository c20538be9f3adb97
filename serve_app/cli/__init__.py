"""The command `familiar`: one file a group of commands, all that is heavy imported where used."""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from serve_app.cli.app import app
    from serve_app.cli.output import run_program

    run_program(app, "familiar")
