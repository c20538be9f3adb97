"""The API over a real store in a temporary folder."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from actors.store.store import Store
from familiar.config.load import parse_config
from familiar.config.schema import Config
from serve_app.api import create_api
from serve_app.sse import Pace
from tests.serve_app.api.local_backend import LocalBackend

QUICK = Pace(page=3, wait_s=5.0, progress_s=0.05, pause_s=0.05, gone_s=2.0)
YAML = """
pools:
  smol: {engine: scripted, model: scripted, replicas: [{cores: [0]}]}
aliases:
  orchestrator: {pool: smol}
  naughty: {pool: smol, mode: output_file}
api: {auth: none}
"""


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: what a first start leaves behind."""
    path = tmp_path_factory.mktemp("store") / "familiar.db"
    Store.open(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture
def config(tmp_path: Path, empty_database: Path) -> Config:
    shutil.copy(empty_database, tmp_path / "familiar.db")
    return parse_config(
        YAML,
        overrides={
            "store.url": f"sqlite:///{tmp_path}/familiar.db",
            "workspace.root": str(tmp_path / "workspaces"),
        },
    )


@pytest.fixture
async def backend(config: Config) -> AsyncIterator[LocalBackend]:
    async with LocalBackend(config) as opened:
        yield opened


@pytest.fixture
async def http(config: Config, backend: LocalBackend) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API without keys."""
    async with client(config, backend) as opened:
        yield opened


def client(
    config: Config,
    backend: LocalBackend,
    digests: tuple[str, ...] | None = None,
    *,
    raise_errors: bool = True,
) -> httpx.AsyncClient:
    app = create_api(config, backend, digests=digests, pace=QUICK)
    transport = httpx.ASGITransport(app, raise_app_exceptions=raise_errors)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321")
