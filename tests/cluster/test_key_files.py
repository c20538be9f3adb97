"""Keys in private files: written for the replicas of a local Ray, found by name."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cluster.head_node import inherited
from cluster.key_files import KEYS, find_key, write_keys
from familiar.config.credentials import credential_variables, engine_variables
from familiar.config.schema import Config
from familiar.secret import Secret

KEY = "sk-of-a-server-0123456789"


def test_keys_are_private_and_found_without_their_line_ends(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", {"SERVER_KEY": Secret(f"{KEY}\r\n"), "UNSET": Secret("")})
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert [file.name for file in keys.iterdir()] == ["SERVER_KEY"]
    assert stat.S_IMODE((keys / "SERVER_KEY").stat().st_mode) == 0o600
    (keys / "MOUNTED").write_text(f"{KEY}\n")  # as a mounted secret is
    for name in ("SERVER_KEY", "MOUNTED"):
        assert find_key(name, {KEYS: str(keys)}) == Secret(KEY)
    assert not find_key("UNSET", {KEYS: str(keys)})


def test_the_variable_itself_wins(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", {"SERVER_KEY": Secret(KEY)})
    both = {KEYS: str(keys), "SERVER_KEY": "sk-of-the-node-0123456789"}
    assert find_key("SERVER_KEY", both) == Secret("sk-of-the-node-0123456789")
    assert find_key("SERVER_KEY", {**both, "SERVER_KEY": " \n"}) == Secret(KEY)


@pytest.mark.parametrize("name", ["", ".", "..", "../outside", "/etc/hostname", "a/b"])
def test_a_name_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text(KEY)
    keys = write_keys(tmp_path / "keys", {})
    assert not find_key(name, {KEYS: str(keys)})
    assert not find_key(name, {})


def test_every_variable_with_a_credential_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = {
        "engine": "openai",
        "model": "m",
        "replicas": [{"url": "http://localhost:1"}],
        "api_key_env": "SERVER_KEY",
        "engine_args": {"headers": {"X-Key": "env:HEADER_KEY", "X-Plain": "value"}},
    }
    config = Config.model_validate(
        {
            "pools": {"remote": remote},
            "aliases": {"orchestrator": {"pool": "remote"}},
            "api": {"auth": "bearer", "keys": ["env:API_KEY", "file:/keys", f"sha256:{'0' * 64}"]},
        }
    )
    assert engine_variables(config) == {"SERVER_KEY", "HEADER_KEY"}
    hidden = credential_variables(config)
    assert hidden == {"SERVER_KEY", "HEADER_KEY", "API_KEY", "FAMILIAR_KEY"}
    for name in hidden:
        monkeypatch.setenv(name, KEY)
    assert KEY not in inherited(hidden).values()
