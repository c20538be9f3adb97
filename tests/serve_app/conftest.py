"""A configuration with scripted engines, its database, and the API over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store.store import Store
from familiar.config.load import load_config
from familiar.config.schema import Config
from familiar.service import PoolView
from tests.serve_app.served import Served, served


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration whose database exists and whose port is nobody's."""
    settings = {
        "deployment": "cli",
        "pools": {"smol": {"engine": "scripted", "model": "script", "replicas": [{}]}},
        "aliases": {
            "orchestrator": {"pool": "smol"},
            "naughty": {"pool": "smol", "mode": "output_file"},
        },
        "store": {"url": f"sqlite:///{tmp_path}/familiar.db"},
        "workspace": {"root": str(tmp_path / "workspaces")},
        "api": {"auth": "none", "port": 1},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(settings))
    Store.open(f"sqlite:///{tmp_path}/familiar.db", create=True).close()
    return path


@pytest.fixture
def config(config_file: Path) -> Config:
    return load_config(config_file)


@pytest.fixture
def service(config: Config) -> Iterator[Served]:
    with served(config) as opened:
        opened.backend.views = (PoolView("smol", "scripted", "script", ("orchestrator",), 0, ()),)
        yield opened
