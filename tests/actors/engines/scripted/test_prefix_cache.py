"""The simulated prefix cache counts whole blocks, and forgets the least recently used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.engines.scripted.tokens import SimulatedPrefixCache


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
