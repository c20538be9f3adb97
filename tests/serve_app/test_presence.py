"""A service that cannot be asked is never taken for one that is not there: a second deployment on
one database would fence the first one off."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from familiar.config.load import load_config
from serve_app.auth import load_keys
from serve_app.cli import run as run_command
from serve_app.client import http
from serve_app.client.http import HttpService, Presence
from tests.serve_app.command import familiar
from tests.serve_app.scripted import GOAL, free_port
from tests.serve_app.served import Served, served

KEY = "a-key-of-sixteen-characters"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Goals for which a deployment of the command's own would have been started."""
    found: list[str] = []
    monkeypatch.setattr(run_command, "_run_alone", lambda _c, order, *_: found.append(order.goal))
    return found


@contextlib.contextmanager
def server(answer: bytes | None, wait_s: float = 0.0) -> Iterator[int]:
    """Answers every connection with these bytes, or with nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.recv(65536)
                        time.sleep(wait_s)
                        client.sendall(answer or b"")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def reply(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply("200 OK", '{"status": "ok"}'), Presence.PRESENT),
        (reply("200 OK", "<html>"), Presence.FOREIGN),
        (reply("200 OK", '{"status": "fine"}'), Presence.FOREIGN),
        (reply("404 Not Found", "nothing"), Presence.FOREIGN),
        (reply("404 Not Found", "Path '/healthz' not found."), Presence.UNKNOWN),
        (reply("500 Internal Server Error", ""), Presence.UNKNOWN),
        (reply("503 Service Unavailable", ""), Presence.UNKNOWN),
        (b"", Presence.UNKNOWN),
        (b"\x00\x01nonsense\r\n\r\n", Presence.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", Presence.UNKNOWN),
    ],
)
def test_what_answers_is_told_apart(answer: bytes, expected: Presence) -> None:
    with server(answer) as port:
        assert HttpService(f"http://127.0.0.1:{port}").presence() is expected


def test_only_a_closed_port_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HttpService(f"http://127.0.0.1:{free_port()}").presence() is Presence.ABSENT
    monkeypatch.setattr(http, "PROBE_S", 0.2)
    with server(None, wait_s=1.0) as port:
        assert HttpService(f"http://127.0.0.1:{port}").presence() is Presence.UNKNOWN
    assert HttpService("http://host.invalid:80").presence() is Presence.UNKNOWN


def at(config_file: Path, port: int) -> tuple[str, ...]:
    return ("--config", str(config_file), "--set", f"api.port={port}")


@pytest.mark.parametrize("key", [None, "another-key-that-is-wrong"])
def test_a_run_without_the_services_key_starts_nothing(
    config_file: Path, started: list[str], key: str | None
) -> None:
    digests = load_keys(["env:K"], {"K": KEY})
    with served(load_config(config_file), digests) as service:
        options = at(config_file, int(service.url.rpartition(":")[2]))
        env = {"FAMILIAR_KEY": key} if key else {}
        refused = familiar("run", GOAL, *options, env=env)
        assert refused.code == 2
        assert "FAMILIAR_KEY" in refused.err
        assert started == []
        # Reading harms nobody: the database needs no key.
        listed = familiar("ls", *options, env=env)
        assert listed.code == 0
        assert "instead" in listed.err
        assert familiar("run", GOAL, *options, env={"FAMILIAR_KEY": f"{KEY}\r\n"}).code == 0
        assert started == []


@pytest.mark.parametrize(
    "answer", [b"", reply("503 Service Unavailable", ""), reply("500 Oops", "")]
)
def test_a_run_at_an_odd_answer_starts_nothing(
    config_file: Path, started: list[str], answer: bytes
) -> None:
    with server(answer) as port:
        refused = familiar("run", GOAL, *at(config_file, port))
        assert refused.code == 4
        assert "Cannot determine" in refused.err
        assert familiar("ls", *at(config_file, port)).code == 0
    assert started == []


def test_a_changed_configuration_still_finds_its_service(
    service: Served, config_file: Path, started: list[str]
) -> None:
    options = at(config_file, int(service.url.rpartition(":")[2]))
    accepted = familiar("run", GOAL, *options, "--set", "pools.smol.model=changed", "--json")
    assert accepted.code == 0, accepted.err
    assert accepted.document["url"] == service.url
    assert "another configuration" in accepted.err
    assert started == []


def test_where_nothing_listens_a_deployment_is_started(
    config_file: Path, started: list[str]
) -> None:
    assert familiar("run", GOAL, *at(config_file, free_port())).code == 0
    assert started == [GOAL]


@pytest.mark.parametrize("key", ["hünt", "two words", "a\nb", "tab\tkey"])
def test_a_key_that_cannot_be_sent_is_named_and_not_shown(service: Served, key: str) -> None:
    refused = familiar("ls", "--url", service.url, env={"FAMILIAR_KEY": key})
    assert refused.code == 2
    assert "bearer key" in refused.err
    assert key not in refused.err
