"""The environment variables in which a configuration expects credentials.

An environment is handed on to every child and can be read in `/proc`, so these variables are left
out of it where processes are started, and each key goes only where it is needed.
"""

from __future__ import annotations

from familiar.config.schema import Config

CLIENT_KEY = "FAMILIAR_KEY"
"""The key that the command itself sends to a service."""


def engine_variables(config: Config) -> frozenset[str]:
    """Variables whose values the replicas need: keys of servers, and headers with `env:`."""
    names = {pool.api_key_env for pool in config.pools.values() if pool.api_key_env}
    for pool in config.pools.values():
        headers = pool.engine_args.get("headers")
        for value in headers.values() if isinstance(headers, dict) else ():
            if isinstance(value, str) and value.startswith("env:"):
                names.add(value.removeprefix("env:"))
    return frozenset(names)


def credential_variables(config: Config) -> frozenset[str]:
    """All of them: those of the engines, the API's bearer keys, and the client's key."""
    api = {key.removeprefix("env:") for key in config.api.keys if key.startswith("env:")}
    return engine_variables(config) | api | {CLIENT_KEY}
