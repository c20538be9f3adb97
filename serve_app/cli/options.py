"""Options that several commands share, so that they are named and explained once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import ConfigError, InputError

if TYPE_CHECKING:
    from familiar.config.schema import Config

# Far above any api.max_goal_bytes that makes sense; the service applies its own limit.
MAX_GOAL_BYTES = 64_000_000

Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, unique prefix, or @last.")]
Session = Annotated[
    str | None,
    typer.Option("--session", help="Continue this session, with its workspace and messages."),
]
_CONFIG = typer.Option(
    "--config",
    "-c",
    envvar="FAMILIAR_CONFIG",
    metavar="FILE",
    help="Configuration file (YAML).",
)
ConfigPath = Annotated[str, _CONFIG]
ConfigFile = Annotated[str | None, _CONFIG]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key of the configuration, e.g. api.port=8400. Can be repeated.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="FAMILIAR_URL",
        metavar="URL",
        help="URL of a running service. Default: api.host and api.port of the configuration.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="FAMILIAR_KEY",
        metavar="KEY",
        show_envvar=True,
        help="Bearer key of the service. Prefer the variable: other users can read a command line.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; JSON lines when following.")
]


def need_config(path: str | None, overrides: list[str] | None, *, example: str) -> Config:
    """The configuration of a command that cannot do without one."""
    if path is None:
        raise InputError(
            "No configuration is given.", field="--config", remedy=f"Example: {example}"
        )
    return read_config(path, overrides)


def read_config(path: str, overrides: list[str] | None) -> Config:
    """Raises `ConfigError`, and `InputError` for an override that is none."""
    from familiar.config.load import load_config, read_yaml

    values: dict[str, object] = {}
    for item in overrides or []:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise InputError(
                f"--set {item} is not KEY=VALUE.",
                field="--set",
                remedy="Example: --set api.port=8400",
            )
        try:
            values[key] = read_yaml(text, f"The value of --set {key}")
        except ConfigError as error:
            raise InputError(error.message, field="--set") from None
    return load_config(path, values)


def read_goal_text(goal: str | None, file: str | None) -> str:
    """The goal from one of the two; `-` is stdin. Raises `InputError`."""
    if (goal is None) == (file is None):
        raise InputError(
            "Give the goal either as an argument or with -f FILE.",
            field="goal",
            remedy="Example: familiar run 'Make `index.html`', or -f goal.md, or -f -.",
        )
    if goal is not None:
        return goal
    assert file is not None
    try:
        if file == "-" and sys.stdin is None:
            raise InputError("The goal - cannot be read: stdin is closed.", field="file")
        if file == "-":
            data = sys.stdin.buffer.read(MAX_GOAL_BYTES + 1)
        else:
            with Path(file).expanduser().open("rb") as stream:
                data = stream.read(MAX_GOAL_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"The goal {file} cannot be read: {error.strerror}.", field="file"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"The goal {file} is not UTF-8 text: byte {error.start} cannot be read.", field="file"
        ) from None
    if len(data) > MAX_GOAL_BYTES:
        raise InputError(f"The goal {file} has more than {MAX_GOAL_BYTES} bytes.", field="file")
    return text
