"""Text made to be expensive is named and kept, not parsed; nothing in a text raises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar.plan.read import PlanWire, read_plan
from familiar.wire import DIALECT_IDS, parse_output
from familiar.wire.limits import MAX_CALLS, MAX_DOCUMENT_BYTES, MAX_PROBLEMS
from familiar.wire.plan_body import TooManyMarks, read_toml

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
    "<think></think>",
    "</think>",
    "<familiar>",
    "a.",
    '\\"""',
    "[[worker_calls]]\n",
]


@pytest.mark.parametrize("dialect", DIALECT_IDS)
@pytest.mark.parametrize("tag", TAGS)
def test_unclosed_tags_call_nothing_and_are_kept(dialect: str, tag: str) -> None:
    text = tag * 5_000
    parsed = parse_output(text, dialect=dialect, tools=[{"name": "x", "parameters": {}}])
    assert parsed.calls == ()
    assert parsed.plan is None
    assert parsed.raw == text
    assert len(parsed.problems) <= MAX_PROBLEMS


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


@pytest.mark.parametrize(
    ("dialect", "frame"),
    [("gemma4", "<|channel>thought\na<channel|>b"), ("qwen3_json", "<think>a</think>b")],
)
def test_the_number_of_frames_of_reasoning_is_capped(dialect: str, frame: str) -> None:
    parsed = parse_output(frame * 100, dialect=dialect)
    assert (parsed.content, parsed.problems) == ("b" * 100, ())
    parsed = parse_output(frame * 2_000, dialect=dialect)
    assert [problem.name for problem in parsed.problems] == ["too_many_tags"]


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
    one, many = '{"name": "f", "arguments": {}}', MAX_CALLS + 2
    for text in (
        f"<tool_call>{one}</tool_call>" * many,
        f"<tool_call>[{', '.join([one] * many)}]</tool_call>",
    ):
        parsed = parse_output(text, dialect="hermes_json")
        assert len(parsed.calls) == MAX_CALLS
        assert [problem.name for problem in parsed.problems] == ["too_many_calls"]


@pytest.mark.parametrize(
    "unit",
    [
        "[a{n}]\n",
        "[[a]]\n",
        "[[worker_calls]]\n",
        '[[worker_calls]]\nid="x"\n',
        "a.b.c{n}=1\n",
        "a{n}=[]\n",
        "a{n}={{b=1}}\n",
        "a=[1,2,3]\n",
        "a.b.c=1\n",
    ],
)
def test_a_toml_plan_of_too_many_entries_is_not_read(unit: str) -> None:
    entries = "".join(unit.format(n=n) for n in range(MAX_DOCUMENT_BYTES // len(unit)))
    body = entries[: MAX_DOCUMENT_BYTES - 100]
    for text in (f"continue = false\n{body}", f"<familiar>\n{body}\n</familiar>"):
        parsed = parse_output(text, dialect="toml")
        assert parsed.plan is None
        assert [problem.name for problem in parsed.problems] == ["plan_too_large"]
        assert "too many tables" in parsed.problems[0].message


def test_the_bound_of_a_toml_plan_is_exact_and_leaves_strings_and_comments_alone() -> None:
    marks = "[{=,'" * 100
    text = f'a = 1  # {marks}\nb = "{marks}"\nc = """{marks}\n\n"""\nd = [1, 2]\n'
    assert set(read_toml(text, max_marks=6)) == {"a", "b", "c", "d"}
    with pytest.raises(TooManyMarks):
        read_toml(text, max_marks=5)


def test_the_largest_plan_that_a_configuration_allows_is_read() -> None:
    call = (
        '[[worker_calls]]\nid = "n{n}"\nalias = "coder"\nprompt = "Write."\n'
        'depends_on = ["a", "b", "c", "d"]\nneeds = ["e", "f"]\noutput_file = "f{n}.py"\n'
    )
    text = "continue = false\n" + "".join(call.format(n=n) for n in range(256))
    parsed = parse_output(text, dialect="toml")
    assert parsed.plan is not None
    assert not parsed.problems


@pytest.mark.parametrize("wire", ["json", "toml"])
def test_the_check_of_the_calls_ends_when_it_has_found_enough(wire: str) -> None:
    body = {
        "json": '{"continue": true, "worker_calls": [' + "{}, " * 1_000 + "{}]}",
        "toml": "continue = true\n" + "[[worker_calls]]\n" * 1_000,
    }[wire]
    found = read_plan(body, wire=PlanWire(wire))
    assert isinstance(found, tuple)
    assert {problem.code for problem in found} == {"plan_malformed"}
    assert len(found) <= 8
