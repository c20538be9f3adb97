"""Answers like those of public reports: slips of models run or are told, and examples are text."""

from __future__ import annotations

import pytest

from familiar.wire import ParsedOutput, parse_output

TEXT = {"type": "string"}
TOOLS = [
    {
        "name": "run",
        "parameters": {"type": "object", "properties": {"command": TEXT}, "required": ["command"]},
    },
    {"name": "ping", "parameters": {"type": "object", "properties": {}, "required": []}},
]
JSON = '{"name": "run", "arguments": {"command": "ls"}}'
EMPTY = '{"name": "ping", "arguments": {}}'
FUNCTION = "<function=run>\n<parameter=command>\nls\n</parameter>\n</function>"
HERMES = f"<tool_call>\n{JSON}\n</tool_call>"
RUN = ("run", {"command": "ls"})
PING = ("ping", {})


def read(text: str, dialect: str) -> ParsedOutput:
    return parse_output(text, dialect=dialect, tools=TOOLS, finish_reason="stop")


def called(parsed: ParsedOutput) -> list[tuple[str, dict[str, object]]]:
    assert not any(call.violations for call in parsed.calls)
    return [(call.name, dict(call.arguments)) for call in parsed.calls]


@pytest.mark.parametrize(
    ("dialect", "text", "calls"),
    [
        ("qwen3_coder_xml", f"<tool_call>\n{JSON}\n</tool_call>", [RUN]),
        (
            "qwen3_coder_xml",
            "<tool_call>\n" + FUNCTION.replace("run", '"run"').replace("command", '"command"'),
            [RUN],
        ),
        (
            "qwen3_coder_xml",
            f"<|im_start|>assistant\n<tool_call>\n{FUNCTION}\n</tool_call><|im_end|>",
            [RUN],
        ),
        ("hermes_json", f"<tool_call>\n{JSON}\n{EMPTY}\n</tool_call>", [RUN, PING]),
        ("hermes_json", '<tool_call>\n{"name": "ping"}\n</tool_call>', [PING]),
        ("hermes_json", '<tool_call>{"type": "function", "name": "ping"}</tool_call>', [PING]),
        (
            "hermes_json",
            f'<tool_call>{{"type": "function", "function": {JSON}}}</tool_call>',
            [RUN],
        ),
        (
            "llama3_json",
            '{"type": "function", "function": "run", "parameters": {"command": "ls"}}',
            [RUN],
        ),
        ("llama3_json", f'{{"type": "function", "function": {JSON}}}', [RUN]),
    ],
)
def test_a_slip_of_the_form_runs(
    dialect: str, text: str, calls: list[tuple[str, dict[str, object]]]
) -> None:
    parsed = read(text, dialect)
    assert called(parsed) == calls
    assert not parsed.content.strip()


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("hermes_json", "<tool_call></tool_call>"),
        ("qwen3_coder_xml", "<tool_call>\n</tool_call>"),
        ("deepseek_v4_dsml", "<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>"),
        ("kimi_k2", "<|tool_calls_section_begin|><|tool_calls_section_end|>"),
        ("glm45_xml", "run\n<arg_key>command</arg_key>\n<arg_value>ls</arg_value>\n</tool_call>"),
        ("gemma4", 'call:run{command:<|"|>ls<|"|>}<tool_call|>'),
        ("mistral", f"TOOL_CALLS [{JSON}]"),
        ("auto", "<execute_tool>run(command='ls')</execute_tool>"),
        ("auto", "<use_mcp_tool>\n<tool_name>run</tool_name>\n</use_mcp_tool>"),
        ("hermes_json", f"<tool_call>\n{JSON}\n{{broken\n</tool_call>"),
    ],
)
def test_a_call_that_was_meant_is_never_silent(dialect: str, text: str) -> None:
    parsed = read(text, dialect)
    assert called(parsed) in ([], [RUN])
    assert parsed.problems


@pytest.mark.parametrize(
    "text",
    [
        "A call looks like `<tool_call><function=run>…</function></tool_call>`. Done.",
        "So:\n\n```\n<tool_call>\n<function=run>…</function>\n</tool_call>\n```\n\nThat is all.",
    ],
)
def test_an_example_that_is_no_whole_call_is_text(text: str) -> None:
    parsed = read(text, "qwen3_coder_xml")
    assert (parsed.content, parsed.calls, parsed.problems) == (text, (), ())


@pytest.mark.parametrize(
    "marks",
    [
        ("<THINK>", "</THINK>"),
        ("<Think >", "</Think >"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ],
)
def test_reasoning_in_another_spelling_is_no_answer(marks: tuple[str, str]) -> None:
    parsed = read(f"{marks[0]}hm{marks[1]}Hello", "qwen3_json")
    assert (parsed.reasoning, parsed.content) == ("hm", "Hello")


INDENTED = HERMES.replace("\n", "\n    ")


@pytest.mark.parametrize(
    "text",
    [
        f"For example: {HERMES} is a call.",
        f"Do not run {HERMES}.",
        f"<!-- {HERMES} -->\nHidden.",
        f"<example>\n{HERMES}\n</example>\nAs shown.",
        f"I would write\n\n    {INDENTED}\n\nbut I do not.",
    ],
)
def test_a_call_that_the_text_only_shows_does_not_run_and_is_told(text: str) -> None:
    parsed = read(text, "hermes_json")
    assert called(parsed) == []
    assert parsed.content == text
    assert [problem.name for problem in parsed.problems] == ["quoted_call"]


@pytest.mark.parametrize("text", [f"I list.{HERMES}", f"I list.\n{HERMES}\nThen I go on."])
def test_a_call_beside_a_sentence_runs(text: str) -> None:
    assert called(read(text, "hermes_json")) == [RUN]


@pytest.mark.parametrize("dialect", ["hermes_json", "qwen3_coder_xml", "glm45_xml", "kimi_k2"])
@pytest.mark.parametrize(
    "call",
    [
        '<|channel|>commentary to=functions.run<|message|>{"command": "ls"}<|call|>',
        '[run(command="ls")]',
    ],
)
def test_a_call_in_the_form_of_another_family_is_told_or_runs(dialect: str, call: str) -> None:
    parsed = read(f"I will list the files.\n\n{call}", dialect)
    assert called(parsed) == [RUN] or parsed.problems


def test_a_message_to_a_tool_that_stops_before_its_arguments_is_cut() -> None:
    parsed = read("<|channel|>commentary to=functions.run<|message|>", "gpt_oss_harmony")
    assert called(parsed) == []
    assert [problem.name for problem in parsed.problems] == ["unterminated_call"]


def test_messages_that_cannot_be_read_are_given_up_behind_some() -> None:
    """Each one costs a look at the lines before it."""
    broken = "<|channel|>commentary to=functions.run<|message|>not JSON<|call|>"
    few, many = (read(broken * count, "gpt_oss_harmony") for count in (5, 1_000))
    assert {problem.name for problem in few.problems} == {"malformed_json"}
    assert [problem.name for problem in many.problems] == ["too_many_tags"]
