"""Where a command goes: a service at a URL, else the database of the configuration.

An explicit URL is the person's word. Without one, the service at the configuration's address is
used if it writes this configuration's database: another deployment may have the port.

Three answers are kept apart. A service is there; no service is there, because nothing listens or
the service writes another database; or it cannot be told: no key, a slow or odd answer. A command
that only reads takes the database in the third case, which is safe. A command that would start
a deployment stops there, because two on one database fence each other off.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from familiar.errors import ClusterError, FamiliarError, StoreError
from serve_app.cli.options import ConfigFile, Json, Key, Overrides, Url, read_config
from serve_app.cli.output import explained, tell

if TYPE_CHECKING:
    from familiar.config.schema import Config
    from serve_app.client.http import HttpService
    from serve_app.client.service import History
    from serve_app.follow.report import Hints

DEFAULT_URL = "http://127.0.0.1:8321"
"""Where `api` of a configuration is by default."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """The options that say where a command goes, and in which form it answers."""

    config: str | None
    overrides: list[str] | None
    url: str | None
    key: str | None
    as_json: bool

    def settings(self) -> Config | None:
        return None if self.config is None else read_config(self.config, self.overrides)

    def history(self) -> History:
        """Something that can be read. Raises `ClusterError` when nothing answers."""
        settings = self.settings()
        if self.url is not None or settings is None:
            return find_service(None, self.url, self.key)
        return _readable(settings, self.key)

    def recorded(self, run: str) -> tuple[History, str]:
        """A history that has this run, and the run's whole id. Raises `NotFound`, too."""
        from serve_app.client.service import resolve_run

        history = self.history()
        return history, resolve_run(history, run)

    def service(self) -> HttpService:
        """A service that answers now. Raises `ClusterError`."""
        return find_service(self.settings(), self.url, self.key)

    def hints(self, where: str) -> Hints:
        """The options that find the same source again."""
        from serve_app.follow.report import Hints

        if self.url:
            words = ["--url", self.url]
        else:
            words = ["--config", self.config] if self.config else []
            words += [word for item in self.overrides or () for word in ("--set", item)]
        return Hints(where, "".join(f" {shlex.quote(word)}" for word in words))


def with_source(command: Callable[..., T]) -> Callable[..., T]:
    """A command whose first parameter, a `Source`, is filled from the shared options."""

    # Any: the command's own parameters, whose types Typer reads from the signature below.
    def run(
        *,
        config: ConfigFile = None,
        overrides: Overrides = None,
        url: Url = None,
        key: Key = None,
        as_json: Json = False,
        **own: Any,
    ) -> T:
        return command(Source(config, overrides, url, key, as_json), **own)

    first = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = [
        parameter
        for parameter in inspect.signature(run, eval_str=True).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in first]
    run.__signature__ = inspect.Signature([*named, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*named, *shared)}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return explained(run)


def _readable(settings: Config, key: str | None) -> History:
    """The service of this configuration, or its database."""
    from serve_app.client.database import DatabaseHistory

    try:
        service = serving(settings, key)
    except FamiliarError as unclear:
        try:
            history = DatabaseHistory(settings.store.url)
        except StoreError:
            raise unclear from None
        tell(f"note: {unclear.message} Reading {history.where} instead.")
        return history
    return service or DatabaseHistory(settings.store.url)


def find_service(config: Config | None, url: str | None, key: str | None) -> HttpService:
    """A service that answers now. Raises `ClusterError`."""
    from serve_app.client.http import HttpService, Presence
    from serve_app.host import url_of

    if url is None and config is not None:
        found = serving(config, key)
        if found is not None:
            return found
        raise ClusterError(
            f"No service of this configuration answers at {url_of(config)}.",
            remedy="Start one with `familiar serve`.",
        )
    service = HttpService(url or DEFAULT_URL, key)
    presence = service.presence()
    if presence is Presence.PRESENT:
        return service
    service.close()
    raise ClusterError(
        f"No familiar service answers at {service.url}: {presence.value}.",
        remedy="Start one with `familiar serve`, name one with --url, or name a "
        "configuration with --config.",
    )


def serving(config: Config, key: str | None) -> HttpService | None:
    """The service that writes this configuration's database, at the configuration's address.

    None only where there is surely none. Raises `ClusterError` or `InputError` when that cannot be
    told, e.g. without the service's key.
    """
    from serve_app.client.http import HttpService, Presence
    from serve_app.host import url_of

    service = HttpService(url_of(config), key)
    presence = service.presence()
    try:
        if presence is Presence.UNKNOWN:
            raise ClusterError(
                f"Cannot determine whether a familiar service runs at {service.url}: "
                f"{presence.value}.",
                remedy="Repeat the command, or set api.port if another program has the port.",
            )
        if presence is Presence.PRESENT:
            served = service.deployment()
            if served.store_id == _store_id(config):
                _compare(config, served.config_hash, service.url)
                return service
    except FamiliarError:
        service.close()
        raise
    service.close()
    return None


def _store_id(config: Config) -> str | None:
    """None where there is no database yet: then no service writes it either."""
    from actors.store.address import Address
    from actors.store.queries import Reader

    path = Address.parse(config.store.url).path
    if path is not None and not path.exists():
        return None
    reader = Reader.open(config.store.url)
    reader.close()
    return reader.store_id


def _compare(config: Config, served: str, url: str) -> None:
    from familiar.config.load import config_hash

    if served != config_hash(config):
        tell(
            f"note: the service at {url} runs with another configuration (hash {served}) than this "
            f"one ({config_hash(config)}); restart it to apply the changes."
        )
