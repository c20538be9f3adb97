"""Options that several commands share, so that they are named and explained once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import ConfigError, InputError

if TYPE_CHECKING:
    from familiar.config.schema import Config

Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, unique prefix, or @last.")]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        envvar="FAMILIAR_CONFIG",
        metavar="FILE",
        help="Configuration file (YAML).",
    ),
]
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
