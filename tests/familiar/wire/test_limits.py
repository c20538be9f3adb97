"""Text made to be expensive is named and kept, not parsed; nothing in a text raises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar.wire import DIALECT_IDS, Limits, parse_output

TAGS = [
    "<tool_call>",
    "<function=x>",
    "<parameter=a>",
    '<｜DSML｜invoke name="x">',
    '<invoke name="x">',
    "<arg_value>",
    "]<]minimax[>[<a>",
    "<|tool_call>call:f{a:",
    '<tool_call>{"name": "',
    '{"name":"x","arguments":',
    "[TOOL_CALLS]f[ARGS]{",
    "<|start|>",
    "[f(a=[",
    "<think>",
    "<familiar>",
]


@pytest.mark.parametrize("dialect", DIALECT_IDS)
@pytest.mark.parametrize("tag", TAGS)
def test_unclosed_tags_call_nothing_and_are_kept(dialect: str, tag: str) -> None:
    text = tag * 5_000
    parsed = parse_output(text, dialect=dialect, tools=[{"name": "x", "parameters": {}}])
    assert parsed.calls == ()
    assert parsed.plan is None
    assert parsed.raw == text
    assert len(parsed.problems) <= Limits().max_problems


@settings(max_examples=300, deadline=None)
@given(
    dialect=st.sampled_from(DIALECT_IDS),
    text=st.lists(
        st.sampled_from([*TAGS, "</", ">", "{", "}", "[", "]", '"', "'", "a", "\n", "\x00"])
    ).map("".join),
    in_reasoning=st.booleans(),
)
def test_no_text_raises(dialect: str, text: str, in_reasoning: bool) -> None:
    parsed = parse_output(text, dialect=dialect, in_reasoning=in_reasoning)
    assert parsed.raw == text


def test_nesting_is_capped() -> None:
    deep = "[" * 5_000 + "]" * 5_000
    for dialect, text in (
        ("hermes_json", f'<tool_call>{{"name": "f", "arguments": {{"a": {deep}}}}}</tool_call>'),
        ("pythonic", f"[f(a={deep})]"),
        ("gemma4", f"<|tool_call>call:f{{a:{deep}}}<tool_call|>"),
    ):
        parsed = parse_output(text, dialect=dialect)
        assert parsed.calls == ()
        assert parsed.problems


def test_the_number_of_calls_is_capped() -> None:
    limits = Limits(max_calls=3)
    one = '{"name": "f", "arguments": {}}'
    for text in (
        f"<tool_call>{one}</tool_call>" * 5,
        f"<tool_call>[{', '.join([one] * 5)}]</tool_call>",
    ):
        parsed = parse_output(text, dialect="hermes_json", limits=limits)
        assert len(parsed.calls) == 3
        assert [problem.name for problem in parsed.problems] == ["too_many_calls"]
