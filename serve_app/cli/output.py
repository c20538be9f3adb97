"""Where a command's words go: results to stdout, everything else to stderr, errors in one shape.

With `--json` stdout carries one JSON document, or JSON lines where something is followed, and
nothing else; an error is a document too, so a script reads one stream and one exit code.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from familiar.errors import FamiliarError
from serve_app.cli.exit_code import ExitCode, code_of_error

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import Console

    from serve_app.models.base import HttpModel

PIPE_WIDTH = 160

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound="HttpModel")


def out() -> Console:
    """For results. What is no terminal has no width, so tables are not cut for it."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(highlight=False, width=width)


def err() -> Console:
    """For everything that is not the result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(value: JsonValue, *, line: bool = False) -> None:
    """One document; `line` keeps it on a single line."""
    text = json.dumps(value, ensure_ascii=False, indent=None if line else 2)
    print(text, flush=True, file=sys.stdout)


def print_found(found: M, show: Callable[[M, Console], None], *, as_json: bool) -> None:
    """What was asked for: the whole of it for a machine, or as `show` tells it to a person."""
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show(found, out())


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors are explained to a person, or told to a machine, and set the exit
    code. What is not a `FamiliarError` is a defect and keeps its stack trace."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        as_json = bool(kwargs.get("as_json"))
        try:
            return command(*args, **kwargs)
        except FamiliarError as error:
            if as_json:
                print_json(error_json(error), line=True)
            else:
                print_error(error)
            raise typer.Exit(code_of_error(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (head, less) has enough. Nothing may be flushed to it at exit.
            sys.stdout = open("/dev/null", "w")  # noqa: SIM115
            raise typer.Exit(ExitCode.OK) from None

    return run


def error_json(error: FamiliarError) -> JsonValue:
    where = getattr(error, "field", "") or getattr(error, "where", "")
    return {
        "error": {
            "type": type(error).__name__,
            "message": error.message,
            "field": str(where) or None,
            "remedy": error.remedy or None,
        }
    }


def print_error(error: FamiliarError) -> None:
    from rich.text import Text

    console = err()
    console.print(Text.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
    if error.remedy:
        console.print(Text(f"  → {error.remedy}", "yellow"), soft_wrap=True)
