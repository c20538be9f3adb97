"""Where a command's words go: results to stdout, everything else to stderr, errors in one shape.

With `--json` stdout carries one JSON document, or JSON lines where something is followed, and
nothing else; an error is a document too, so a script reads one stream and one exit code.

Much of what is printed was written by models. `SafeConsole` replaces what could steer a terminal,
reads no markup in any text, and writes any encoding: a character that a terminal does not know
becomes a plain one. A reader that closes the pipe ends the command quietly.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from familiar.errors import (
    ClusterError,
    ConfigError,
    EngineError,
    FamiliarError,
    InputError,
    StoreError,
)
from familiar.safe_text import escape_unsafe

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import Console


PIPE_WIDTH = 160
_PLAIN = dict(zip("✓✗→·░█▶↻–…“”‘’", "+x>.-#>~-~\"\"''", strict=True))

HELP = (
    "Exit codes: 0 succeeded; 1 the run or familiar failed; 2 invalid input, configuration or "
    "usage; 3 the run was cancelled; 4 the service or machine is not available or not ready; "
    "130 interrupted by Ctrl-C (143 by SIGTERM)."
)


class ExitCode(IntEnum):
    """130 and 143 are a shell's own: 128 and the number of the signal."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    CANCELLED = 3
    UNAVAILABLE = 4
    INTERRUPTED = 130


def code_of_outcome(outcome: str) -> ExitCode:
    """For a run that has ended."""
    known = {"succeeded": ExitCode.OK, "cancelled": ExitCode.CANCELLED}
    return known.get(outcome, ExitCode.FAILED)


def code_of_error(error: Exception) -> ExitCode:
    if isinstance(error, InputError | ConfigError):
        return ExitCode.BAD_INPUT
    if isinstance(error, ClusterError | StoreError | EngineError):
        return ExitCode.UNAVAILABLE
    return ExitCode.FAILED


P = ParamSpec("P")
T = TypeVar("T")


def out(*, at_least: int = 0) -> Console:
    """For results. What is no terminal has no width, so tables are not cut for it. `at_least` is
    the width below which a result cannot be read; a narrower terminal wraps it."""
    from serve_app.cli.console import SafeConsole

    prepare_streams()
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    console = SafeConsole(highlight=False, markup=False, emoji=False, width=width)
    if console.width < at_least:
        console.width = at_least
    return console


def err() -> Console:
    """For everything that is not the result."""
    from serve_app.cli.console import SafeConsole

    prepare_streams()
    return SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)


def tell(text: str) -> None:
    err().print(text, style="yellow", soft_wrap=True)


def prepare_streams() -> None:
    """Let both streams take any text: also where they are closed or know few characters."""
    codecs.register_error("plain", _plain)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure") and stream.errors != "plain":
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lost), error.end


def to_json(value: JsonValue, *, indent: int | None = None) -> str:
    """JSON that any stdout can carry: what steers a terminal, or is not in the stream's encoding,
    is escaped."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return escape_unsafe(json.dumps(value, ensure_ascii=not unicode, indent=indent))


def print_json(value: JsonValue, *, line: bool = False) -> None:
    """One document; `line` keeps it on a single line."""
    prepare_streams()
    print(to_json(value, indent=None if line else 2), flush=True, file=sys.stdout)


def print_found(found: T, show: Callable[[T, Console], None], *, as_json: bool) -> None:
    """Print the result: the whole document for a program, or as `show` presents it to a person."""
    if as_json:
        from pydantic_core import to_jsonable_python

        print_json(to_jsonable_python(found))
    else:
        show(found, out())


def run_program(app: Callable[..., object], name: str) -> None:
    """Run the commands of `app` to an exit code. A stdout that takes no more, e.g. a full disk,
    ends the program with a sentence."""
    prepare_streams()
    try:
        try:
            app(prog_name=name)
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EDQUOT):
            raise
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(error, BrokenPipeError):
            sys.exit(ExitCode.OK)
        with contextlib.suppress(OSError):
            print(f"error: The output cannot be written: {error.strerror}.", file=sys.stderr)
        sys.exit(ExitCode.FAILED)


def run_command(command: Callable[..., object], name: str) -> None:
    """Run one command as a program of its own. An interrupt ends it quietly, however early."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(epilog=HELP)(command)
    try:
        run_program(app, name)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors are explained to a person, or told to a machine, and set the exit
    code. What is not a `FamiliarError` is a defect and keeps its stack trace."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        prepare_streams()
        as_json = bool(kwargs.get("as_json"))
        try:
            for name, value in kwargs.items():
                _check_text(name, value)
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
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            raise typer.Exit(ExitCode.OK) from None

    return run


def _check_text(name: str, value: object) -> None:
    """Refuse words of the command line that are not text in this locale's encoding."""
    for text in value if isinstance(value, list) else [value]:
        try:
            str(text).encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(
                f"The value of {name} is not valid UTF-8.",
                field=name,
                remedy="Send the text in UTF-8; a goal in another encoding can be converted with "
                "iconv.",
            ) from None


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
