"""Ray's token can be read by this user only, whoever made it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.token import ensure_private_token


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def token_of(home: Path) -> Path:
    return home / ".ray" / "auth_token"


@pytest.mark.usefixtures("umask")
def test_a_new_token_is_private_whatever_the_umask(tmp_path: Path) -> None:
    ensure_private_token({}, tmp_path)
    token = token_of(tmp_path)
    assert (mode(token), mode(token.parent)) == (0o600, 0o700)
    assert len(token.read_text()) == 64
    assert list(token.parent.iterdir()) == [token]


@pytest.mark.parametrize("text", ["a token that Ray made", ""])
def test_a_token_that_others_can_read_becomes_private(tmp_path: Path, text: str) -> None:
    token = token_of(tmp_path)
    token.parent.mkdir(mode=0o755)
    token.write_text(text)
    token.chmod(0o644)
    ensure_private_token({}, tmp_path)
    assert (mode(token), mode(token.parent)) == (0o600, 0o700)
    assert token.read_text() == text if text else len(token.read_text()) == 64


def test_a_token_stays_the_same(tmp_path: Path) -> None:
    ensure_private_token({}, tmp_path)
    before = token_of(tmp_path).read_text()
    ensure_private_token({}, tmp_path)
    assert token_of(tmp_path).read_text() == before


def test_starts_at_the_same_time_agree_on_one_token(tmp_path: Path) -> None:
    def start(_: int) -> str:
        ensure_private_token({}, tmp_path)
        return token_of(tmp_path).read_text()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(32)))) == 1


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_token_that_is_given_is_left_alone(tmp_path: Path, name: str) -> None:
    ensure_private_token({name: "given"}, tmp_path)
    assert list(tmp_path.iterdir()) == []
