"""Events in words, and text that cannot steer a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from familiar import event as e
from familiar.event_text import describe
from familiar.safe_text import safe_line, safe_text
from tests.actors.store.histories import T0, bodies


@given(bodies())
def test_every_event_has_an_action_and_stays_on_one_line(body: e.Body) -> None:
    found = describe(e.Event("run-1", 1, 1, T0, body))
    assert found.action
    assert len(found.brief.splitlines()) <= 1
    assert all("=" in field for field in found.fields)


def test_a_models_words_cannot_steer_the_terminal_of_a_follower() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202egpj.exe\rdone"
    found = describe(e.Event("r", 1, 1, T0, e.RunEnded(outcome="failed", reason=hostile)))
    for text in (found.brief, *found.fields):
        assert not set(text) & set("\x1b\x07\x9b\u202e\r\n")


@given(st.text())
def test_only_what_steers_is_replaced(text: str) -> None:
    safe = safe_text(text)
    kept = "".join(c for c in text.replace("\r\n", "\n").replace("\r", "\n"))
    assert len(safe) == len(kept)
    for before, after in zip(kept, safe, strict=True):
        if before != after:
            assert after == "\ufffd"
            assert unicodedata.category(before) in ("Cc", "Cf", "Cn", "Zl", "Zp", "Cs")
    assert safe_text(safe) == safe
    safe.encode("utf-8")


def test_words_of_every_script_stay_as_they_are() -> None:
    for text in ("Größe\tund\n", "日本語 😀 👩\u200d💻", "עברית", "naïve café"):
        assert safe_text(text) == text


def test_a_line_has_one_line() -> None:
    assert safe_line("a\r\nb\tc\rd") == "a b c d"
