"""Who may ask."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from familiar.config.schema import Config
from familiar.errors import ConfigError
from familiar.service import Readiness
from serve_app.auth import load_keys
from tests.serve_app.api.conftest import client
from tests.serve_app.api.local_backend import LocalBackend

ANNA, BEN, DORA = ("anna" * 4, "ben-" * 4, "dora" * 4)
FIRST = "first-key-of-sixteen"
SECOND = "second-key-of-sixteen"
KEYS = load_keys(["env:ONE", "env:TWO"], {"ONE": FIRST, "TWO": SECOND})


async def test_every_operation_but_health_needs_a_key(
    config: Config, backend: LocalBackend
) -> None:
    async with client(config, backend, KEYS) as http:
        schema = (
            await http.get("/openapi.json", headers={"Authorization": f"Bearer {FIRST}"})
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


@pytest.mark.parametrize("key", [FIRST, SECOND])
async def test_each_key_opens(config: Config, backend: LocalBackend, key: str) -> None:
    async with client(config, backend, KEYS) as http:
        response = await http.get("/v1/runs", headers={"Authorization": f"bearer {key}"})
        assert response.status_code == 200


@pytest.mark.parametrize(
    "sent",
    [f"Bearer {FIRST[:-1]}", f"Bearer {FIRST}2", "Bearer ", f"Basic {FIRST}", FIRST, "Bearer é"],
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
    keys.write_text(f"# people\n{ANNA}\n\n  {BEN}  \n")
    digest = hashlib.sha256(b"carla").hexdigest()
    found = load_keys([f"file:{keys}", f"sha256:{digest.upper()}", "env:DORA"], {"DORA": DORA})
    assert found == tuple(
        hashlib.sha256(key).hexdigest()
        for key in (ANNA.encode(), BEN.encode(), b"carla", DORA.encode())
    )


@pytest.mark.parametrize(
    "entry", ["env:NOBODY", "env:EMPTY", "file:/nowhere/keys", "sha256:beef", "my-secret", ""]
)
def test_an_entry_that_gives_no_key_is_rejected_and_not_repeated(entry: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_keys([entry], {"EMPTY": " "})
    assert caught.value.where == "api.keys.0"
    assert "my-secret" not in str(caught.value)


def test_an_empty_key_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# nobody yet\n")
    with pytest.raises(ConfigError, match="no key"):
        load_keys([f"file:{tmp_path / 'keys'}"], {})


async def test_health_says_nothing_without_a_key(config: Config, backend: LocalBackend) -> None:
    async with client(config, backend, KEYS) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize("key", ["x", "short-key", "a" * 15])
def test_a_short_key_is_rejected_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigError, match="fewer than 16") as caught:
        load_keys(["env:K"], {"K": f" {key}\r\n"})
    assert f" {key} " not in str(caught.value)


@pytest.mark.parametrize("body", [None, {"reason": "x"}])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9"},
        {"Origin": "https://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(
    config: Config, backend: LocalBackend, headers: dict[str, str], body: dict[str, str] | None
) -> None:
    async with client(config, backend) as http:
        run_id = (await http.post("/v1/runs", json={"goal": "Write `a.md`."})).json()["run_id"]
        for path in (f"/v1/runs/{run_id}/cancel", "/v1/runs"):
            response = await http.post(path, json=body, headers=headers)
            assert response.status_code == 403
            assert response.json()["field"] == "header.origin"
        assert (await http.get(f"/v1/runs/{run_id}", headers=headers)).json()["status"] == "running"
    async with client(config, backend, KEYS) as http:
        keyed = {**headers, "Authorization": f"Bearer {FIRST}"}
        assert (await http.post(f"/v1/runs/{run_id}/cancel", headers=keyed)).status_code == 403


async def test_a_program_and_a_page_of_the_service_may_cancel(
    config: Config, backend: LocalBackend
) -> None:
    async with client(config, backend) as http:
        for headers in (
            {},
            {"Origin": "http://127.0.0.1:8321", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
        ):
            goal = {"goal": "Write `a.md`."}
            accepted = await http.post("/v1/runs", json=goal, headers=headers)
            assert accepted.status_code == 202
            path = f"/v1/runs/{accepted.json()['run_id']}/cancel"
            assert (await http.post(path, headers=headers)).status_code == 202


async def test_open_routes_say_nothing_particular_to_strangers(
    config: Config, backend: LocalBackend
) -> None:
    backend.ready = Readiness(False, ("http://svc:PW@10.1.2.3/v1?k=Q is not reachable.",))
    key = {"Authorization": f"Bearer {FIRST}"}
    async with client(config, backend, KEYS) as http:
        stranger = await http.get("/readyz")
        assert stranger.status_code == 503
        assert "10.1.2.3" not in stranger.text
        known = (await http.get("/readyz", headers=key)).json()
        assert known["reasons"] == ["http://10.1.2.3/v1?k=Q is not reachable."]
    async with client(config, backend) as http:
        assert "10.1.2.3" not in (await http.get("/readyz", headers={"Host": "evil.example"})).text
        assert "PW" not in (await http.get("/readyz")).text
