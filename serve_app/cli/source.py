"""Who answers a command: a service at a URL, else the database of the configuration.

An explicit URL is the person's word. Without one, the API of the configuration is tried, and used
only if it serves the pools of this very configuration: another deployment may have the port. Only
then the database is opened directly, which needs no service and no Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from familiar.errors import ClusterError, FamiliarError, InputError
from serve_app.cli.options import read_config

if TYPE_CHECKING:
    from familiar.config.schema import Config
    from serve_app.client.http import HttpService
    from serve_app.client.service import History

DEFAULT_URL = "http://127.0.0.1:8321"
"""Where `api` of a configuration is by default."""


def find_history(
    config: str | None, overrides: list[str] | None, url: str | None, key: str | None
) -> History:
    """Something that can be read. Raises `ClusterError` when nothing answers."""
    if url is not None or config is None:
        return find_service(None, url, key)
    settings = read_config(config, overrides)
    service = serving(settings, key)
    if service is not None:
        return service
    from serve_app.client.database import DatabaseHistory

    return DatabaseHistory(settings.store.url)


def find_service(config: Config | None, url: str | None, key: str | None) -> HttpService:
    """A service that answers now. Raises `ClusterError`."""
    from serve_app.client.http import HttpService
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
    if not service.answers():
        service.close()
        raise ClusterError(
            f"No familiar service answers at {service.url}.",
            remedy="Start one with `familiar serve`, name one with --url, or name a "
            "configuration with --config.",
        )
    return service


def serving(config: Config, key: str | None) -> HttpService | None:
    """The service of this configuration, if one answers where it says."""
    from serve_app.client.http import HttpService
    from serve_app.host import url_of

    service = HttpService(url_of(config), key)
    if service.answers():
        try:
            served = {pool.pool: pool.model for pool in service.pools().pools}
        except InputError:
            # Without a key nobody can say whose it is; the database needs none.
            served = {}
        except FamiliarError:
            served = {name: pool.model for name, pool in config.pools.items()}
        if served == {name: pool.model for name, pool in config.pools.items()}:
            return service
    service.close()
    return None
