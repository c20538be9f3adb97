"""The command as a whole: what it imports, what it promises, `doctor` and `config check`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.store.queries import Reader
from familiar.config.load import load_config
from familiar.errors import StoreError
from serve_app.cli.app import app
from serve_app.cli.output import HELP, ExitCode, code_of_outcome
from tests.actors.engines.openai.test_waiting import Fake
from tests.serve_app.command import familiar
from tests.serve_app.forked import forked

COMMANDS = tuple(str(command.name) for command in app.registered_commands)
HEAVY = ("ray", "torch", "vllm", "sqlalchemy", "fastapi", "httpx")


def test_help_imports_nothing_that_is_slow() -> None:
    words = [("--help",), ("--version",), *((command, "--help") for command in COMMANDS)]
    program = (
        "import sys\n"
        "from serve_app.cli import main\n"
        f"for words in {words!r}:\n"
        "    sys.argv = ['familiar', *words]\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n        code = end.code\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    if code or heavy:\n        sys.exit(f'{words} {code} {heavy}')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_reading_a_database_needs_no_ray(config_file: Path) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['familiar', 'ls', '--config', {str(config_file)!r}]\n"
        "from serve_app.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'ray' not in sys.modules and 'torch' not in sys.modules\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("There are no runs.\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_documents_its_exit_codes(command: str) -> None:
    shown = familiar(command, "--help")
    assert shown.code == 0
    assert " ".join(HELP.split()[:6]) in " ".join(shown.out.split())
    assert "--json" in shown.out


@pytest.mark.parametrize("words", [(), *((c,) for c in COMMANDS), ("config",), ("store",)])
def test_help_has_a_short_form(words: tuple[str, ...]) -> None:
    assert familiar(*words, "-h").out == familiar(*words, "--help").out
    assert familiar(*words, "-h").code == 0


def test_the_version_is_shown() -> None:
    assert familiar("--version").out.startswith("familiar ")


def test_what_a_run_ended_as_is_the_exit_code() -> None:
    assert code_of_outcome("succeeded") == ExitCode.OK
    assert code_of_outcome("failed") == ExitCode.FAILED
    assert code_of_outcome("cancelled") == ExitCode.CANCELLED


def test_a_word_too_many_is_bad_usage() -> None:
    assert familiar("ls", "what").code == 2
    assert familiar("dance").code == 2
    assert familiar("ls", "--status", "sleeping").code == 2


def test_a_reader_that_has_enough_is_no_error(config_file: Path) -> None:
    ended = subprocess.run(
        f"{sys.executable} -m serve_app.cli config check {config_file} --json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("{", "")


@pytest.mark.parametrize("name", ["embedded", "four-gpu"])
def test_config_check_says_what_a_shipped_configuration_is(repository: Path, name: str) -> None:
    file = str(repository / "configs" / f"{name}.yaml")
    shown = familiar("config", "check", file)
    assert shown.code == 0
    assert "is valid" in shown.out
    document = familiar("config", "check", file, "--json").document
    assert document["valid"] is True
    assert "orchestrator" in document["config"]["aliases"]


def test_config_check_names_the_typo_and_the_remedy(config_file: Path) -> None:
    config_file.write_text(config_file.read_text().replace('"aliases"', '"alias"'))
    refused = familiar("config", "check", str(config_file))
    assert refused.code == 2
    assert "did you mean aliases?" in refused.err
    missing = familiar("config", "check", "nowhere.yaml", "--json")
    assert missing.code == 2
    assert "nowhere.yaml" in missing.document["error"]["message"]


def test_an_override_that_is_none_is_rejected(config_file: Path) -> None:
    refused = familiar("config", "check", str(config_file), "--set", "api.port")
    assert refused.code == 2
    assert "KEY=VALUE" in refused.err


def states(*options: str) -> dict[str, str]:
    found = familiar("doctor", "--json", *options)
    document = found.document
    assert found.code == (0 if document["ready"] else 4)
    return {check["name"]: check["state"] for check in document["checks"]}


def test_doctor_looks_at_the_machine_and_finds_nothing_missing_for_what_can_run(
    config_file: Path,
) -> None:
    found = states("--config", str(config_file))
    for name in ("python", "ray", "git", "openat2", "memory", "room in /tmp"):
        assert found[name] in ("ok", "note")
    assert found["pool smol"] == found["store"] == found["workspace"] == "ok"


def test_a_database_of_an_older_version_stops_no_start(config_file: Path) -> None:
    url = load_config(config_file).store.url
    database = sqlite3.connect(url.removeprefix("sqlite:///"))
    with database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    database.close()
    assert states("--config", str(config_file))["store"] == "ok"
    with pytest.raises(StoreError, match="has schema 0001"):
        Reader.open(url)


def test_doctor_says_all_that_is_missing_and_what_to_do(config_file: Path) -> None:
    settings = json.loads(config_file.read_text())
    pool = settings["pools"]["smol"]
    settings["pools"] = {
        "smol": pool | {"engine": "vllm", "model": "/nowhere/weights"},
        "script": pool | {"engine_args": {"script": "nowhere.yaml"}},
        "key": pool
        | {
            "engine": "openai",
            "api_key_env": "NOBODYS_KEY",
            "replicas": [{"url": "http://127.0.0.1:1"}],
        },
        "cores": pool | {"replicas": [{"cores": [4096]}]},
        "gpus": pool | {"replicas": [{"gpus": [77]}]},
    }
    settings["workspace"]["repository"] = "/"
    settings["store"]["url"] = "sqlite:////usr"
    settings["api"] |= {"auth": "bearer", "keys": ["env:NOBODYS_KEY"]}
    config_file.write_text(json.dumps(settings))
    found = familiar("doctor", "--config", str(config_file), "--json")
    assert found.code == 4
    missing = [entry for entry in found.document["checks"] if entry["state"] == "missing"]
    assert {entry["name"] for entry in missing} >= {
        *("pool smol", "pool script", "pool key", "cores", "GPUs", "workspace", "store", "keys"),
    }
    assert all(entry["remedy"] for entry in missing)


def test_doctor_tells_a_database_that_is_read_only(config_file: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    (config_file.parent / "familiar.db").chmod(0o400)
    assert states("--config", str(config_file))["store"] == "missing"


def test_doctor_tells_who_has_the_port(config_file: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--config", str(config_file), "--set", f"api.port={port}")
        assert states(*options)[f"port {port}"] == "missing"
        refused = familiar("serve", *options)
    assert refused.code == 4
    assert f"port is taken by process {os.getpid()}" in refused.err


def test_serve_needs_a_configuration() -> None:
    refused = familiar("serve", "--json")
    assert refused.code == 2
    assert refused.document["error"]["field"] == "--config"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-16"])
@pytest.mark.parametrize("words", [("config", "check"), ("config", "check", "--json")])
def test_every_encoding_is_written(
    config_file: Path, encoding: str, words: tuple[str, ...]
) -> None:
    ended = forked(
        (*words, str(config_file), "--set", "pools.smol.model=→é日"),
        env={"PYTHONIOENCODING": encoding, "FAMILIAR_KEY": ""},
        folder=config_file.parent,
    )
    assert ended.code in (0, 4)
    assert b"Traceback" not in ended.err
    said = ended.out.decode(encoding)
    assert said.strip()
    if words[-1] == "--json":
        assert json.loads(said)["config"]["pools"]["smol"]["model"] == "→é日"


STREAMS: dict[str, dict[str, Any]] = {
    "no stdout": {"stdout": "closed"},
    "no stderr": {"stderr": False},
    "neither": {"stdout": "closed", "stderr": False},
    "no stdin": {},
    "nobody reads": {"stdout": "gone"},
}


@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_closed_streams_end_no_command_in_a_traceback(
    config_file: Path, streams: dict[str, Any]
) -> None:
    for words in (("ls", "--config", str(config_file)), ("show", "x", "--url", "http://[::1]:1")):
        ended = forked(words, folder=config_file.parent, **streams)
        assert "Traceback" not in ended.said
        assert ended.code in (0, 4)


def test_closed_streams_of_an_interpreter_end_in_no_traceback(config_file: Path) -> None:
    words = f"{sys.executable} -m serve_app.cli ls --config {config_file}"
    ended = subprocess.run(
        f"{words} 1>&- 2>{config_file}.err", shell=True, capture_output=True, check=False
    )
    assert (ended.returncode, Path(f"{config_file}.err").read_text()) == (0, "")
    ended = subprocess.run(f"{words} 1>&- 2>&-", shell=True, capture_output=True, check=False)
    assert ended.returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("show", "\udcff"),
        ("run", "caf\udce9"),
        ("ls", "--url", "http://[::1"),
        ("ls", "--url", "http://127.0.0.1:99999"),
        ("ls", "--url", "ftp://x"),
        ("ls", "--url", ""),
        ("run", "x", "--config", "/"),
        ("run", "x", "--config", "a\x00b"),
        ("run", "-f", "/"),
        ("config", "check", "~nobody-of-this-name/x.yaml"),
    ],
)
def test_nothing_that_can_be_typed_ends_in_a_traceback(words: tuple[str, ...]) -> None:
    ended = familiar(*words)
    assert ended.code in (2, 4)
    assert "error:" in ended.err or "Error" in ended.err


@pytest.mark.parametrize("value", ["2026-13-45", "{", "!!int x", "&a [*a]", "[" * 600, "\x00"])
def test_no_override_ends_in_a_traceback(config_file: Path, value: str) -> None:
    for key in ("api.port", "pools.smol.engine_args", "*", "pools.*.slots"):
        ended = familiar("config", "check", str(config_file), "--set", f"{key}={value}")
        assert ended.code == 2, (key, value)


def test_doctor_calls_each_server_and_tells_what_it_really_serves(config_file: Path) -> None:
    fake = Fake()
    fake.models = (200, {"data": [{"id": "script", "max_model_len": 2048}]})
    options = (
        *("--config", str(config_file), "--set", "pools.smol.engine=openai"),
        *("--set", f"pools.smol.replicas=[{{url: '{fake.url}'}}]"),
    )
    with in_thread(fake):
        short = familiar("doctor", *options)
        fits = familiar("doctor", *options, "--set", "pools.smol.context_length=2048")
    assert short.code == 4
    assert "serves a context of 2048 tokens and the pool says" in short.out
    assert "Set context_length: 2048" in short.out
    assert len(fake.bodies) == 2
    assert f"{fake.url} answered a call as script, context 2048 tokens" in fits.out
    assert "for orchestrator, naughty" in fits.out
    gone = familiar("doctor", *options)
    assert "cannot be reached" in gone.out
    assert "until then the calls of this pool wait" in gone.out


def test_doctor_names_each_port_that_other_machines_can_reach(
    tmp_path: Path,
) -> None:
    program = (
        "import socket, sys\n"
        "listener = socket.create_server(('0.0.0.0', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "FAMILIAR_LOCAL_RAY": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        found = familiar("doctor")
        process.communicate()
    assert f"listens on 0.0.0.0 port {port}" in found.out
    assert "Let a firewall reject connections" in found.out


@contextlib.contextmanager
def in_thread(fake: Fake) -> Iterator[None]:
    """The server in a loop of its own."""
    stop, up = asyncio.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with fake.up():
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert up.wait(30)
    try:
        yield
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)
