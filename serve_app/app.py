"""The Serve application: `serve_app.app:build`, one ingress deployment that holds the API.

`build` reads the configuration and the bearer keys where it is called (the CLI, or Serve's build
task), so a mistake is reported there, and hands the replica validated values: it needs neither the
file nor the keys. The replica's constructor makes sure that the orchestrator exists, by name, so a
replica that Serve restarts finds the one that is there. The replica runs on the orchestrator's node
(`cluster.orchestrator_node`), because readers of a SQLite store must see its file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve import Application, Deployment

from familiar.config.load import load_config, read_yaml
from familiar.config.schema import Config
from familiar.errors import ConfigError
from familiar.service import namespace_of

DEPLOYMENT = "api"
# A stream of events is one request for as long as it is followed, and costs no thread.
MAX_ONGOING_REQUESTS = 1000
# Long enough for submissions to commit and for streams to come to the end of a page.
GRACEFUL_SHUTDOWN_S = 60.0


class BuildArgs(BaseModel):
    """`config` is a path; every other key is an override with dots: `api.port: 8400`."""

    model_config = ConfigDict(extra="allow")

    config: str = Field(min_length=1)


def build(args: Mapping[str, object] | BuildArgs) -> Application:
    """The application for the deployment that `args` describes. Raises `ConfigError`."""
    try:
        checked = BuildArgs.model_validate(args)
    except ValidationError:
        raise ConfigError(
            "The application's args need `config`, the path of a configuration.",
            where="args.config",
            remedy="For example: config: configs/embedded.yaml",
        ) from None
    overrides = {
        key: read_yaml(value, f"The override {key}") if isinstance(value, str) else value
        for key, value in (checked.model_extra or {}).items()
    }
    return application(load_config(checked.config, overrides), shared=True)


def application(config: Config, *, shared: bool) -> Application:
    """The application for `config`; `shared` as in `actors.deploy`. Raises `ConfigError` for keys
    that cannot be read."""
    from serve_app.auth import load_keys

    digests = load_keys(config.api.keys, os.environ) if config.api.auth == "bearer" else None
    options: dict[str, object] = {"num_cpus": 0}
    if labels := config.cluster.orchestrator_node.labels:
        options["label_selector"] = dict(labels)
    deployment: Deployment = serve.deployment(  # type: ignore[assignment]
        serve.ingress()(Api),
        name=DEPLOYMENT,
        num_replicas=1,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        graceful_shutdown_timeout_s=GRACEFUL_SHUTDOWN_S,
        ray_actor_options=options,
    )
    return deployment.bind(config, digests, shared)


class Api:
    """The ingress replica. Serve builds the ASGI app after the constructor, in the replica."""

    def __init__(self, config: Config, digests: tuple[str, ...] | None, shared: bool) -> None:
        from actors.deploy import ensure_deployment
        from actors.users import User
        from serve_app.remote import RemoteBackend

        self._config = config
        self._digests = digests
        namespace = namespace_of(config.deployment)
        self._user = User("api", namespace) if shared else None
        ensure_deployment(config, shared=shared)
        self._backend = RemoteBackend(namespace, config.store.url)

    def __serve_build_asgi_app__(self) -> FastAPI:
        from serve_app.api import create_api

        return create_api(self._config, self._backend, digests=self._digests)
