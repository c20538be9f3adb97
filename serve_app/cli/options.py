"""Options that several commands share, so that they are named and explained once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import ConfigError, InputError

if TYPE_CHECKING:
    from familiar.config.schema import Config

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run: its id, a unique beginning of it, or @last.")
]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", envvar="FAMILIAR_CONFIG", metavar="FILE", help="The configuration (YAML)."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the configuration, e.g. api.port=8400. May be repeated.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="FAMILIAR_URL",
        metavar="URL",
        help="A running service; default: api.host and api.port of the configuration.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="FAMILIAR_KEY",
        metavar="KEY",
        show_envvar=True,
        help="The service's bearer key. Better in the environment: others see a command line.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document (JSON lines where it is followed).")
]


def read_config(path: str, overrides: list[str] | None) -> Config:
    """Raises `ConfigError`, and `InputError` for an override that is none."""
    from familiar.config.load import load_config, read_yaml

    values: dict[str, object] = {}
    for item in overrides or []:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise InputError(
                f"--set {item} is not KEY=VALUE.", field="--set", remedy="E.g. --set api.port=8400"
            )
        try:
            values[key] = read_yaml(text, f"The value of --set {key}")
        except ConfigError as error:
            raise InputError(error.message, field="--set") from None
    return load_config(path, values)
