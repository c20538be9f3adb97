"""No part of a key is anywhere but in the process that needs it, and in one private file."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.actors.engines.openai.misbehaving import served_in_a_thread
from tests.serve_app.scripted import GOAL, MARK, Program, program, write_config

pytestmark = pytest.mark.ray

API_KEY = "bearer-3f9d1c5a7be24e0d9a61"
SERVER_KEY = "sk-server-8c41e7d25f0b4a96"
HEADER_KEY = "header-77ab02c9d1ef43b8"
PARTS = [key[at : at + 10] for key in (API_KEY, SERVER_KEY, HEADER_KEY) for at in (0, 8, 12)]


def found_in(text: bytes | str) -> list[str]:
    said = text.encode() if isinstance(text, str) else text
    return [part for part in PARTS if part.encode() in said]


def members(service: Program) -> dict[int, str]:
    """The other processes of the deployment: id and command line."""
    mark = f"{MARK}={service.mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == service.process.pid:
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace")
        except OSError:
            continue
    return found


def with_a_server(folder: Path, url: str) -> Path:
    """The scripted deployment, with its workers at a server that repeats the key that it got."""
    path = write_config(folder)
    settings = yaml.safe_load(path.read_text())
    settings["pools"]["remote"] = {
        "engine": "openai",
        "model": "rejected_key_is_not_repeated",
        "replicas": [{"url": url}],
        "api_key_env": "SERVER_KEY",
        "engine_args": {"headers": {"X-Gateway-Key": "env:HEADER_KEY"}},
    }
    settings["aliases"]["naughty"]["pool"] = "remote"
    settings["api"] |= {"auth": "bearer", "keys": ["env:API_KEY"]}
    path.write_text(yaml.safe_dump(settings))
    return path


def test_no_part_of_a_key_is_anywhere(tmp_path: Path) -> None:
    keys = {"API_KEY": f"{API_KEY}\r\n", "SERVER_KEY": f"{SERVER_KEY}\n", "HEADER_KEY": HEADER_KEY}
    keys["FAMILIAR_KEY"] = API_KEY
    with served_in_a_thread() as url:
        config = with_a_server(tmp_path, url)
        words = ("-m", "serve_app.cli", "serve", "--config", str(config), "--json")
        with program(*words, env=keys) as it:
            started = json.loads(it.wait_for('{"url"'))
            answers = a_failed_run(started["url"])
            assert "wrong key" in answers, "the server's own words reach the person"
            assert "[hidden]" in answers
            seen = members(it)
            assert len(seen) > 5
            for pid, command in seen.items():
                assert found_in(command) == [], command
                assert found_in(environment_of(pid)) == [], f"the environment of {command}"
            ray = Path(started["ray_directory"])
            files = {file: file.stat().st_mode for file in (ray.parent / "keys").iterdir()}
            assert {file.name for file in files} == {"SERVER_KEY", "HEADER_KEY"}
            assert {stat.S_IMODE(mode) for mode in files.values()} == {0o600}
            assert stat.S_IMODE((ray.parent / "keys").stat().st_mode) == 0o700
            assert leaks(ray) == []
            assert it.end(signal.SIGINT) == 130, it.said
            assert it.left() == []
            assert not ray.parent.exists()
        assert found_in(it.said) == []
        assert found_in(answers) == []
        assert leaks(tmp_path) == []


def environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # it has ended


def leaks(folder: Path) -> list[str]:
    """Files with a part of a key: logs, database, workspace."""
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            file = Path(directory) / name
            if file.is_file() and found_in(file.read_bytes()):
                found.append(str(file))
    return found


def a_failed_run(url: str) -> str:
    """Everything that the API says about a run whose calls the server rejects."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        run: dict[str, Any] = client.post("/v1/runs", json={"goal": GOAL}).json()
        where = f"/v1/runs/{run['run_id']}"
        said = [client.get(f"{where}/events").text]
        calls = client.get(f"{where}/calls").json()["calls"]
        paths = [where, f"{where}/explain", f"{where}/plan", "/v1/pools", "/readyz", "/metrics"]
        paths += [f"{where}/calls/{call['call_id']}" for call in calls]
        said += [client.get(path).text for path in paths]
        said.append(client.get("/v1/runs", headers={"Authorization": "Bearer wrong"}).text)
    return "\n".join(said)
