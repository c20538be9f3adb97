"""Calls that were meant are read or named, shown ones do not run, and quoted marks are text."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from familiar.event import PlanAccepted, PlanRejected
from familiar.plan.judge import judge_plan
from familiar.plan.read import PlanWire
from familiar.wire import ParsedOutput, parse_output
from familiar.wire.meant import MARKS, WORDS
from tests.familiar.plan.views import view

TEXT = {"type": "string"}
TOOLS = [
    {
        "name": "run",
        "parameters": {"type": "object", "properties": {"command": TEXT}, "required": ["command"]},
    },
]
JSON_CALL = '{"name": "run", "arguments": {"command": "ls"}}'
HERMES = f"<tool_call>\n{JSON_CALL}\n</tool_call>"


def read(text: str, dialect: str = "hermes_json") -> ParsedOutput:
    return parse_output(text, dialect=dialect, tools=TOOLS, finish_reason="stop")


def commands(parsed: ParsedOutput) -> list[object]:
    return [call.arguments.get("command") for call in parsed.calls]


@pytest.mark.parametrize(
    "text",
    [
        f"One writes:\n\n```\n{HERMES}\n```\n\nI did not.",
        f"One writes:\n\n~~~xml\n{HERMES}\n~~~\n\nI did not.",
        f"The form is `{HERMES}`; that is all.",
        f"The form is “{HERMES}”, as said.",
    ],
)
def test_an_example_does_not_run(text: str) -> None:
    parsed = read(text)
    assert not parsed.calls
    assert "<tool_call>" in parsed.content


@pytest.mark.parametrize(
    "text",
    [
        f"I list the files:\n```\n{HERMES}\n```",
        f"<think>\nI call it.\n{HERMES}\n</think>\n",
        "<run>\n<parameter=command>\nls\n</parameter>\n</run>",
        '{"tool": "run", "args": {"command": "ls"}}',
        '<run>{"command": "ls"}</run>',
        "<run>\n<command>ls</command>\n</run>",
        '<tool name="run">{"command": "ls"}</tool>',
        "{'name': 'run', 'arguments': {'command': 'ls'}}",
        "run(command='ls')",
        "print(default_api.run(command='ls'))",
        "```tool_code\nrun(command='ls')\n```",
        "Thought: list.\nAction: run\nAction Input: ls",
        '>>>run\n{"command": "ls"}',
        f"[TOOL_REQUEST]{JSON_CALL}[END_TOOL_REQUEST]",
        f"TOOL_CALLS][{JSON_CALL}]",
        f"<longcat_tool_call>{JSON_CALL}</longcat_tool_call>",
        f"functools[{JSON_CALL}]",
        f"<think>a</think><|START_ACTION|>[{JSON_CALL}]<|END_ACTION|>",
        '✿FUNCTION✿: run\n✿ARGS✿: {"command": "ls"}',
        "<start_function_call>call:run{command:<escape>ls<escape>}<end_function_call>",
        HERMES.replace("<", "&lt;").replace(">", "&gt;"),
        f"<tool_call>\n“{JSON_CALL}”\n</tool_call>",
    ],
)
def test_a_call_that_may_have_been_meant_is_named(text: str) -> None:
    parsed = read(text)
    assert not parsed.calls
    assert parsed.problems


@pytest.mark.parametrize(
    "text",
    [
        f"```xml\n{HERMES}\n```",
        f"```json\n{JSON_CALL}\n```",
        f"<tools>\n{JSON_CALL}\n</tools>",
        f"<tool_call>\n```json\n{JSON_CALL}\n```\n</tool_call>",
        f'{{"tool_calls": [{{"function": {JSON_CALL}}}]}}',
        HERMES.replace("}}", "}}}"),
        "\ufeff" + HERMES,
        HERMES + "<|im_end|>\n",
    ],
)
def test_a_call_that_was_meant_runs(text: str) -> None:
    parsed = read(text)
    assert commands(parsed) == ["ls"]
    assert parsed.content == ""


@pytest.mark.parametrize(
    "text",
    [
        "The tool `run` lists files; run (as said) needs a command.",
        "I used run(command='ls') before.",
        "One writes\n\n```python\nrun(command='ls')\n```\n\nfor it.",
        '{"command": "ls"}',
        '{"name": "Anna", "age": 3}',
        "Action: rest\n",
        "<walk>\n<command>go</command>\n</walk>",
    ],
)
@pytest.mark.parametrize("dialect", ["hermes_json", "qwen3_coder_xml", "gpt_oss_harmony", "auto"])
def test_text_about_tools_is_no_call_and_no_problem(text: str, dialect: str) -> None:
    parsed = read(text, dialect)
    assert not parsed.calls
    assert not parsed.problems


@pytest.mark.parametrize(
    "text",
    [
        'commentary to=functions.run json{"command": "ls"}',
        '<|channel|>commentary to=functions.run <|constrain|>json{"command": "ls"}<|call|>',
        f"<|start|>assistant<|channel|>final<|message|>\n{HERMES}<|return|>",
    ],
)
def test_a_harmony_call_that_cannot_be_read_is_named(text: str) -> None:
    parsed = read(text, "gpt_oss_harmony")
    assert not parsed.calls
    assert parsed.problems


def test_a_misspelt_closer_is_no_part_of_a_value() -> None:
    tags = "<tool_call>\n<function=run>\n<parameter=command>\nls\n{}\n</function>\n</tool_call>"
    for closer in ("</paramter>", "</param>", "</parameters>"):
        parsed = read(tags.format(closer), "qwen3_coder_xml")
        assert not parsed.calls
        assert [problem.name for problem in parsed.problems] == ["ambiguous_close"]
    dsml = (
        '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="run">\n<｜DSML｜parameter name="command" '
        'string="true">ls</｜DSML｜paramter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>'
    )
    assert not read(dsml, "deepseek_v4_dsml").calls


def test_the_line_breaks_around_a_value_may_be_those_of_windows() -> None:
    text = "<tool_call>\n<function=run>\n<parameter=command>\nls\n</parameter>\n</function>"
    assert commands(read(text.replace("\n", "\r\n"), "qwen3_coder_xml")) == ["ls"]


@pytest.mark.parametrize("dialect", ["pythonic", "gemma4"])
def test_a_number_that_is_too_large_is_no_value(dialect: str) -> None:
    text = {
        "pythonic": "[run(command=1e999)]",
        "gemma4": "<|tool_call>call:run{command:1e999}<tool_call|>",
    }[dialect]
    parsed = parse_output(text, dialect=dialect)
    json.dumps([dict(call.arguments) for call in parsed.calls], allow_nan=False)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("<think>\nA `</think>` mark.\n</think>\nDone.", "Done."),
        ("<think>\n```\n</think>\n```\nso\n</think>\nDone.", "Done."),
        ("<think>a <think>b</think> c</think>Done.", "Done."),
        ("<thinking>a</thinking>Done.", "Done."),
        ("[THINK]a[/THINK]Done.", "Done."),
        ("Yes. <think>a</think>Done.", "Yes. Done."),
        ("Yes.\n<think>never closed", "Yes.\n"),
    ],
)
def test_reasoning_is_never_the_answer(text: str, content: str) -> None:
    assert read(text).content == content


def test_a_mark_inside_an_argument_is_text() -> None:
    command = "cut '</think>' from <think>"
    call = json.dumps({"name": "run", "arguments": {"command": command}})
    assert commands(read(f"<tool_call>\n{call}\n</tool_call>")) == [command]


def test_a_call_inside_another_cut_one_does_not_run() -> None:
    inner = '{"name": "run", "parameters": {"command": "rm"}}'
    for text in (f"<|python_tag|>f.call(x={inner}", f'{{"payload": {inner}', f"f(x={inner})"):
        assert not read(text, "llama3_json").calls


def test_a_windows_path_stays_a_path() -> None:
    path = r"C:\Users\bob\new\file.txt"
    text = HERMES.replace("ls", path)
    assert commands(read(text)) == [path]
    assert read(HERMES.replace("ls", r"src\Users\new")).problems


def test_lone_surrogates_and_huge_numbers_raise_nothing() -> None:
    parsed = read(HERMES.replace("ls", r"a\ud83c"))
    assert commands(parsed) == ["a\ufffd"]
    huge = "9" * 5_000
    assert read(f'<tool_call>{{"name": "run", "arguments": {{"n": {huge}}}}}</tool_call>').problems
    for wire, plan in (("json", f'{{"continue": {huge}}}'), ("toml", f"continue = {huge}")):
        judged = judge_plan(plan, view(files=()), 1, wire=PlanWire(wire))
        assert isinstance(judged, PlanRejected)
        judged.model_dump_json()


PLAN = {
    "continue": False,
    "worker_calls": [{"id": "a", "alias": "naughty", "prompt": "Cut </think>."}],
}


def test_of_several_plans_none_runs() -> None:
    one = json.dumps(PLAN)
    for text in (one + one, f"{one}\n{one}", f"```json\n{one}\n```\nor\n```json\n{one}\n```"):
        assert isinstance(judge_plan(text, view(files=()), 1), PlanRejected)


def test_a_mark_inside_a_prompt_is_text() -> None:
    text = f"<familiar-abc123>\n{json.dumps(PLAN)}\n</familiar-abc123>"
    judged = judge_plan(text, view(files=()), 1, wire=PlanWire("json", "abc123"))
    assert isinstance(judged, PlanAccepted)
    assert judged.calls[0].prompt == "Cut </think>."


@given(st.from_regex(re.compile(MARKS, re.IGNORECASE), fullmatch=True))
def test_each_mark_of_a_call_holds_a_word_that_is_looked_for_first(mark: str) -> None:
    assume(mark.lower() == mark.casefold())
    assert WORDS.search(mark.lower())
