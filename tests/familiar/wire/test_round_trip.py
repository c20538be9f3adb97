"""What a dialect's template writes is read back as it was: names, values, types, order, content."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar.wire import parse_output
from familiar.wire.dialects import DIALECTS
from tests.familiar.wire.writers import DSML_SPELLINGS, WRITERS, Call

# Everything that makes markup hard: tags, quotes, brackets, entities, line breaks, other scripts.
PIECES = st.sampled_from(
    [
        "a",
        " ",
        "\n",
        "<p class='x'>",
        "</p>",
        "</script>",
        "&amp;",
        "&lt;",
        '"',
        "'",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "=",
        "(",
        ")",
        "```",
        "日本",
        "🌟",
        "42",
        "null",
        "x: 1",
        "</tag>",
        "<br/>",
    ]
)
TEXT = st.lists(PIECES, max_size=12).map("".join)
TOOL = {
    "name": "write_file",
    "parameters": {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "content": {"type": "string"},
            "mode": {"type": "integer"},
            "dry": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    },
}
WORD = st.text("abcdefgh_.-/", min_size=1, max_size=12)


@st.composite
def some_calls(draw: st.DrawFn, *, plain: bool) -> list[Call]:
    """One to three calls; `plain` texts do not begin or end in a frame's line break."""
    text = TEXT.map(lambda value: f"x{value}y") if plain else TEXT
    calls: list[Call] = []
    for _ in range(draw(st.integers(1, 3))):
        arguments: dict[str, object] = {"path": draw(WORD), "content": draw(text)}
        if draw(st.booleans()):
            arguments["mode"] = draw(st.integers(-1000, 1000))
        if draw(st.booleans()):
            arguments["dry"] = draw(st.booleans())
        if draw(st.booleans()):
            arguments["tags"] = draw(st.lists(WORD, min_size=1, max_size=3))
        calls.append(("write_file", arguments))
    return calls


def found(text: str, dialect: str) -> list[Call]:
    parsed = parse_output(text, dialect=dialect, tools=[TOOL])
    assert not parsed.problems, parsed.problems
    assert not parsed.repairs, parsed.repairs
    return [(call.name, dict(call.arguments)) for call in parsed.calls]


# In these the value's text is its own frame: an outer line break cannot be told from the frame's.
FRAMED = {"qwen3_coder_xml", "step3p5_xml", "seed_oss_xml"}


@pytest.mark.parametrize("dialect", sorted(WRITERS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_calls_are_read_back_as_written(dialect: str, data: st.DataObject) -> None:
    calls = data.draw(some_calls(plain=dialect in FRAMED))
    assert found(WRITERS[dialect](calls), dialect) == calls


@pytest.mark.parametrize("spelling", sorted(DSML_SPELLINGS))
def test_every_spelling_of_dsml_is_read(spelling: str) -> None:
    calls: list[Call] = [("write_file", {"path": "a.html", "content": "<p>&amp;</p>"})]
    parsed = parse_output(DSML_SPELLINGS[spelling](calls), dialect="deepseek_v4_dsml", tools=[TOOL])
    assert [(call.name, dict(call.arguments)) for call in parsed.calls] == calls
    assert not parsed.problems


@pytest.mark.parametrize("dialect", sorted(set(WRITERS) - {"gpt_oss_harmony", "generic_json"}))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_auto_finds_the_dialect(dialect: str, data: st.DataObject) -> None:
    calls = data.draw(some_calls(plain=True))
    assert found(WRITERS[dialect](calls), "auto") == calls


@pytest.mark.parametrize("dialect", sorted(set(WRITERS) - {"gpt_oss_harmony", "pythonic"}))
def test_text_before_a_call_is_content(dialect: str) -> None:
    calls: list[Call] = [("write_file", {"path": "a", "content": "b"})]
    between = "\n" if dialect == "llama4_pythonic" else ""
    parsed = parse_output(
        "I write it now." + between + WRITERS[dialect](calls), dialect=dialect, tools=[TOOL]
    )
    assert parsed.content.strip() == "I write it now."
    assert len(parsed.calls) == 1


@pytest.mark.parametrize("dialect", sorted(set(WRITERS) - {"gpt_oss_harmony"}))
def test_a_call_drafted_in_reasoning_is_no_call(dialect: str) -> None:
    row = DIALECTS[dialect]
    draft: list[Call] = [("write_file", {"path": "draft", "content": "no"})]
    act: list[Call] = [("write_file", {"path": "real", "content": "yes"})]
    text = f"I could {WRITERS[dialect](draft)} but not so.{row.think_close}\n\n"
    parsed = parse_output(
        text + WRITERS[dialect](act), dialect=dialect, tools=[TOOL], in_reasoning=True
    )
    assert [call.arguments["path"] for call in parsed.calls] == ["real"]
    assert parsed.reasoning is not None
    assert "draft" in parsed.reasoning
    assert parsed.content == ""


@pytest.mark.parametrize("dialect", sorted(WRITERS))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_call_cut_off_by_length_is_never_made(dialect: str, data: st.DataObject) -> None:
    calls: list[Call] = [("write_file", {"path": "a.txt", "content": "one line of a file"})]
    whole = WRITERS[dialect](calls)
    cut = data.draw(st.integers(1, len(whole) - 1))
    parsed = parse_output(whole[:cut], dialect=dialect, tools=[TOOL], finish_reason="length")
    for call in parsed.calls:
        assert dict(call.arguments) == calls[0][1], "half a value would have been written"
