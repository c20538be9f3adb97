"""Who may ask."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from familiar.config.schema import Config
from familiar.errors import ConfigError
from serve_app.auth import load_keys
from tests.serve_app.api.conftest import client
from tests.serve_app.api.local_backend import LocalBackend

KEYS = load_keys(["env:ONE", "env:TWO"], {"ONE": "first-key", "TWO": "second-key"})


async def test_every_operation_but_health_needs_a_key(
    config: Config, backend: LocalBackend
) -> None:
    async with client(config, backend, KEYS) as http:
        schema = (
            await http.get("/openapi.json", headers={"Authorization": "Bearer first-key"})
        ).json()
        paths = {
            (method, path) for path, operations in schema["paths"].items() for method in operations
        }
        assert len(paths) >= 15
        for method, path in paths | {("get", "/openapi.json"), ("get", "/nowhere")}:
            filled = path.replace("{run_id}", "r").replace("{session_id}", "s")
            response = await http.request(method, filled)
            if path in {"/healthz", "/readyz"}:
                assert response.status_code == 200
                continue
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"] == 'Bearer realm="familiar"'
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["remedy"]


@pytest.mark.parametrize("key", ["first-key", "second-key"])
async def test_each_key_opens(config: Config, backend: LocalBackend, key: str) -> None:
    async with client(config, backend, KEYS) as http:
        response = await http.get("/v1/runs", headers={"Authorization": f"bearer {key}"})
        assert response.status_code == 200


@pytest.mark.parametrize(
    "sent",
    ["Bearer first-ke", "Bearer first-key2", "Bearer ", "Basic first-key", "first-key", "Bearer é"],
)
async def test_nothing_else_opens(config: Config, backend: LocalBackend, sent: str) -> None:
    async with client(config, backend, KEYS) as http:
        response = await http.get("/v1/runs", headers={"Authorization": sent.encode("utf-8")})
        assert response.status_code == 401


async def test_a_digest_is_no_key(config: Config, backend: LocalBackend) -> None:
    async with client(config, backend, KEYS) as http:
        response = await http.get("/v1/runs", headers={"Authorization": f"Bearer {KEYS[0]}"})
        assert response.status_code == 401
        assert 'error="invalid_token"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("host", ["familiar.example", "127.0.0.1.example:80", "10.0.0.1", ""])
async def test_without_keys_only_a_loopback_name_is_answered(
    config: Config, backend: LocalBackend, host: str
) -> None:
    async with client(config, backend) as http:
        response = await http.get("/v1/runs", headers={"Host": host})
        assert response.status_code == 421
        assert response.json()["field"] == "header.host"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "LOCALHOST:80", "[::1]:80", "[::1]"])
async def test_every_loopback_name_is_answered(
    config: Config, backend: LocalBackend, host: str
) -> None:
    async with client(config, backend) as http:
        assert (await http.get("/v1/runs", headers={"Host": host})).status_code == 200


def test_keys_come_from_the_environment_a_file_or_a_digest(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# people\nanna\n\n  ben  \n")
    digest = hashlib.sha256(b"carla").hexdigest()
    found = load_keys([f"file:{keys}", f"sha256:{digest.upper()}", "env:DORA"], {"DORA": "dora"})
    assert found == tuple(
        hashlib.sha256(key).hexdigest() for key in (b"anna", b"ben", b"carla", b"dora")
    )


@pytest.mark.parametrize(
    "entry", ["env:NOBODY", "env:EMPTY", "file:/nowhere/keys", "sha256:beef", "my-secret", ""]
)
def test_an_entry_that_gives_no_key_is_refused_and_not_repeated(entry: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_keys([entry], {"EMPTY": " "})
    assert caught.value.where == "api.keys.0"
    assert "my-secret" not in str(caught.value)


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# nobody yet\n")
    with pytest.raises(ConfigError, match="no key"):
        load_keys([f"file:{tmp_path / 'keys'}"], {})


async def test_health_says_nothing_without_a_key(config: Config, backend: LocalBackend) -> None:
    async with client(config, backend, KEYS) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
