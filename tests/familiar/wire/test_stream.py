"""Streaming changes nothing: every way of cutting an answer gives the reading of the whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar.wire import DIALECT_IDS, OutputParser, parse_output
from familiar.wire.limits import MAX_BYTES
from familiar.wire.parse import within_cap
from tests.familiar.wire.writers import WRITERS

CALLS = [("write_file", {"path": "a.txt", "content": "<p>&amp; 'text'</p>"})]
FRAGMENTS = st.sampled_from(
    [
        *(write(CALLS) for write in WRITERS.values()),
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<function=write_file>",
        "<parameter=path>",
        "</parameter>",
        "</function>",
        "<｜DSML｜tool_calls>",
        "<|channel>",
        "<channel|>",
        "[TOOL_CALLS]",
        "<|start|>assistant",
        "<|channel|>final<|message|>",
        "<familiar-abc123>",
        "</familiar-abc123>",
        '{"continue": true, "worker_calls": []}',
        "prose, ",
        "\n",
        "  ",
        "日本",
        "\ud800",
        "{",
        "[",
        "]",
        '"',
        "<",
    ]
)
TOOLS = [{"name": "write_file", "parameters": {"type": "object", "required": ["path"]}}]


@settings(max_examples=300, deadline=None)
@given(
    dialect=st.sampled_from([*DIALECT_IDS]),
    text=st.lists(FRAGMENTS, max_size=8).map("".join),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    in_reasoning=st.booleans(),
    finish_reason=st.sampled_from([None, "stop", "length"]),
    tools=st.sampled_from([None, [], TOOLS]),
)
def test_every_chunking_gives_the_same_result(
    dialect: str,
    text: str,
    cuts: list[int],
    in_reasoning: bool,
    finish_reason: str | None,
    tools: list[dict[str, object]] | None,
) -> None:
    whole = parse_output(
        text,
        dialect=dialect,
        tools=tools,
        finish_reason=finish_reason,
        in_reasoning=in_reasoning,
    )
    parser = OutputParser(dialect=dialect, tools=tools, in_reasoning=in_reasoning)
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    for low, high in pairwise(edges):
        parser.feed(text[low:high])
    assert parser.finish(finish_reason) == whole
    assert whole.raw == text


def test_text_beyond_the_cap_is_named_and_not_parsed() -> None:
    text = "日本ab" * (MAX_BYTES // 8 + 100)
    whole = parse_output(text, dialect="hermes_json")
    for size in (65_537, MAX_BYTES // 3, len(text)):
        parser = OutputParser(dialect="hermes_json")
        for start in range(0, len(text), size):
            parser.feed(text[start : start + size])
        assert parser.finish() == whole
    assert [problem.name for problem in whole.problems] == ["output_too_large"]
    assert MAX_BYTES - 4 < len(whole.raw.encode()) <= MAX_BYTES
    assert text.startswith(whole.raw)


@pytest.mark.parametrize("text", ["a" * 9, "日本ab日本", "é" * 9, "\ud800" * 9])
@pytest.mark.parametrize("cap", range(12))
def test_the_cap_tears_no_character(text: str, cap: int) -> None:
    kept = within_cap(text, cap)
    assert len(text[:kept].encode("utf-8", "surrogatepass")) <= cap
    assert kept == len(text) or len(text[: kept + 1].encode("utf-8", "surrogatepass")) > cap


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
@pytest.mark.parametrize("dialect", DIALECT_IDS)
def test_an_empty_answer_is_no_error(dialect: str, text: str) -> None:
    parsed = parse_output(text, dialect=dialect)
    assert parsed.calls == ()
    assert parsed.plan is None
