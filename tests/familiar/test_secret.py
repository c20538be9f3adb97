"""Credentials are never shown."""

from __future__ import annotations

import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.secret import HIDDEN, Secret, scrub

KEY = "sk-SECRET/with+odd&characters=é"


def test_a_secret_shows_nothing_however_it_is_printed() -> None:
    secret = Secret(f"{KEY}\r\n")
    for text in (str(secret), repr(secret), f"{secret}", f"{secret:>40}", f"{[secret]}"):
        assert "SECRET" not in text
    with pytest.raises(TypeError, match="stays in the process"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t\n", "\ufeff".strip("\ufeff")])
def test_white_space_around_a_key_is_not_part_of_it(end: str) -> None:
    assert Secret(f"{end}{KEY}{end}").reveal() == KEY
    assert not Secret(end)


@pytest.mark.parametrize("value", ["a b", "a\nb", "hünt", "\x00", ""])
def test_a_key_that_no_header_can_carry_is_recognised(value: str) -> None:
    assert not Secret(value).sendable
    assert Secret("sk-abc_123.~").sendable


@given(st.text(min_size=4).filter(lambda t: t.strip() == t), st.text(), st.text())
def test_scrubbing_leaves_no_form_of_a_key(value: str, before: str, after: str) -> None:
    secret = Secret(value)
    # A mark keeps chance neighbours from spelling the key.
    for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
        assert scrub(f"<{form}>", [secret]).count(HIDDEN) >= 1


def test_the_words_of_libraries_are_scrubbed() -> None:
    secret = Secret(KEY)
    for said in (
        f"Illegal header value b'Bearer {KEY.encode()!r}'",
        f"GET /v1?key={quote(KEY, safe='')} failed",
        f"Illegal header value {('Bearer ' + KEY)!r}",
        json.dumps({"sent": KEY}),
    ):
        assert "SECRET" not in scrub(said, [secret])


def test_credentials_in_urls_go_without_being_known() -> None:
    text = scrub("cannot reach http://svc:PW@host:80/v1 and postgresql://u:p%40w@db/x")
    assert "PW" not in text
    assert "p%40w" not in text
    assert "http://host:80/v1" in text
