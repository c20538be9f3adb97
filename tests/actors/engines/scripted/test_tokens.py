"""The scripted tokenizer, its filler and prefix cache, and the rate of tokens over a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engines.rate import TokenRate
from actors.engines.scripted.tokens import SimulatedPrefixCache, fewest_tokens, filler, tokenize


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    tokens = tokenize(text)
    assert "".join(tokens) == text
    assert fewest_tokens(text) <= len(tokens)


@given(st.integers(0, 300), st.text(max_size=5))
def test_filler_is_exactly_so_many_tokens_of_the_tokenizer(count: int, seed: str) -> None:
    pieces = filler(count, seed)
    assert len(pieces) == count
    assert tokenize("".join(pieces)) == pieces


def test_a_rate_is_over_the_window_and_falls_to_zero_after_it() -> None:
    rate = TokenRate(window_s=5.0)
    for step in range(100):
        rate.add(10, step / 10)
    assert rate.per_second(10.0) == pytest.approx(100, rel=0.1)
    assert rate.per_second(16.0) == 0.0


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=30), min_size=1, max_size=6))
def test_the_cache_counts_the_longest_common_prefix_in_blocks(prompts: list[list[str]]) -> None:
    cache = SimulatedPrefixCache(block_tokens=4, blocks=10_000)
    for nth, prompt in enumerate(prompts):
        expected = 0
        for earlier in prompts[:nth]:
            same = 0
            while same < min(len(earlier), len(prompt)) and earlier[same] == prompt[same]:
                same += 1
            expected = max(expected, same // 4 * 4)
        if expected == len(prompt) and expected:
            expected -= 4
        assert cache.admit(prompt) == expected


def test_a_full_cache_forgets_what_was_used_least_recently() -> None:
    cache = SimulatedPrefixCache(block_tokens=1, blocks=4)
    cache.admit(list("ab."))
    cache.admit(list("xyz."))
    assert cache.admit(list("ab.")) == 0
