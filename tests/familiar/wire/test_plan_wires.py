"""The four plan wires carry the same plan, only this turn's tags count, and half a plan is none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar.errors import WireError
from familiar.plan.read import PlanWire, read_plan
from familiar.wire import (
    PLAN_WIRES,
    RESERVED_TAG_NAMES,
    parse_output,
    wire_instruction,
    wire_suffix,
)
from familiar.wire.plan_wire import wire_tags

SUFFIX = wire_suffix("run-7", 3)
Entry = Mapping[str, object]


def _depends(call: Entry) -> str:
    names = call["depends_on"]
    assert isinstance(names, list)
    return " ".join(names)


def write(wire: str, calls: Sequence[Entry], *, more: bool = True, suffix: str = SUFFIX) -> str:
    """A plan as a model that follows the instruction would write it."""
    root = f"familiar-plan-{suffix}" if wire == "html" else f"familiar-{suffix}"
    flag = "true" if more else "false"
    if wire == "json":
        body = json.dumps({"continue": more, "worker_calls": list(calls)}, ensure_ascii=False)
        return f"<{root}>\n{body}\n</{root}>"
    if wire == "toml":
        tables = [
            "\n[[worker_calls]]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in call.items())
            for call in calls
        ]
        return f"<{root}>\ncontinue = {flag}\n{''.join(tables)}</{root}>"
    prefix, name = ("data-", "worker-call") if wire == "html" else ("", "call")
    separator = "-" if wire == "html" else "_"
    parts = []
    for call in calls:
        given = f'{prefix}id="{call["id"]}" {prefix}alias="{call["alias"]}"'
        given += f' {prefix}depends{separator}on="{_depends(call)}"'
        if "output_file" in call:
            given += f' {prefix}output{separator}file="{call["output_file"]}"'
        parts.append(f"<{name}-{suffix} {given}>\n{call['prompt']}\n</{name}-{suffix}>\n")
    if wire == "html":
        return f'<{root} data-continue="{flag}">\n{"".join(parts)}</{root}>'
    return f"<{root}>\n<continue-{suffix}>{flag}</continue-{suffix}>\n{''.join(parts)}</{root}>"


CALLS: list[Entry] = [
    {
        "id": "n1",
        "alias": "coder",
        "prompt": 'Write <p>Fish &amp; chips</p>\nin "two" lines.',
        "depends_on": [],
        "output_file": "menu/index.html",
    },
    {"id": "n2", "alias": "tester", "prompt": "Check it.", "depends_on": ["n1"]},
]

PROMPT = st.lists(
    st.sampled_from(
        [
            "Do",
            " ",
            "\n",
            "<p>",
            "</p>",
            "&amp;",
            '"',
            "'''",
            "\\n",
            "日本",
            "</call>",
            f"</call-{SUFFIX}> too",
            f"</worker-call-{SUFFIX}> too",
            f"</familiar-{SUFFIX}> too",
            "<call id='x'>",
            "{",
            "}",
            "<tool_call>",
        ]
    ),
    max_size=8,
).map(lambda pieces: "x" + "".join(pieces) + "y")


@pytest.mark.parametrize("wire", PLAN_WIRES)
@settings(max_examples=80, deadline=None)
@given(prompts=st.lists(PROMPT, min_size=1, max_size=3), more=st.booleans())
def test_a_plan_is_read_back_as_written(wire: str, prompts: list[str], more: bool) -> None:
    calls: list[Entry] = [
        {"id": f"n{index}", "alias": "coder", "prompt": prompt, "depends_on": []}
        for index, prompt in enumerate(prompts)
    ]
    parsed = parse_output(write(wire, calls, more=more), dialect=wire, suffix=SUFFIX)
    assert parsed.problems == ()
    assert parsed.plan == {"continue": more, "worker_calls": calls}
    assert parsed.calls == ()


@pytest.mark.parametrize("wire", PLAN_WIRES)
def test_every_wire_carries_the_same_plan(wire: str) -> None:
    parsed = parse_output(write(wire, CALLS), dialect=wire, suffix=SUFFIX)
    assert parsed.plan == {"continue": True, "worker_calls": CALLS}
    assert parsed.repairs == ()


@pytest.mark.parametrize("wire", PLAN_WIRES)
def test_a_plan_of_another_turn_is_not_this_turns_plan(wire: str) -> None:
    old = write(wire, CALLS, suffix=wire_suffix("run-7", 2))
    parsed = parse_output(old, dialect=wire, suffix=SUFFIX)
    assert parsed.plan is None
    assert [problem.name for problem in parsed.problems] == ["plan_stale"]
    quoted = f"Last turn's was:\n{old}\nNow:\n{write(wire, CALLS[1:])}"
    assert parse_output(quoted, dialect=wire, suffix=SUFFIX).plan == {
        "continue": True,
        "worker_calls": CALLS[1:],
    }


@pytest.mark.parametrize("wire", PLAN_WIRES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_cut_plan_is_no_plan(wire: str, data: st.DataObject) -> None:
    whole = write(wire, CALLS)
    end = whole.rindex("</") if wire == "toml" else whole.rindex("}") if wire == "json" else 0
    cut = data.draw(st.integers(1, (end or len(whole)) - 1))
    parsed = parse_output(whole[:cut], dialect=wire, suffix=SUFFIX, finish_reason="length")
    assert parsed.plan is None
    assert [problem.name for problem in parsed.problems] == ["truncated_plan"]


@pytest.mark.parametrize("wire", PLAN_WIRES)
def test_reasoning_and_prose_around_a_plan(wire: str) -> None:
    text = f"<think>Two calls.</think>\nHere it is.\n{write(wire, CALLS)}\n"
    parsed = parse_output(text, dialect=wire, suffix=SUFFIX)
    assert parsed.plan is not None
    assert parsed.reasoning == "Two calls."
    assert parsed.content == "Here it is."


@pytest.mark.parametrize("wire", ["json", "toml"])
@pytest.mark.parametrize("field", ["id", "alias", "prompt"])
def test_a_call_that_lacks_a_field_is_named(field: str, wire: str) -> None:
    broken = [{key: value for key, value in CALLS[0].items() if key != field}]
    found = read_plan(write(wire, broken), wire=PlanWire(wire, SUFFIX))
    assert isinstance(found, tuple)
    assert any(f"worker_calls.0.{field}" in problem.message for problem in found)


@pytest.mark.parametrize("value", ['"plan"', "[]", '{"worker_calls": {}}'])
def test_what_has_not_the_form_of_a_plan_is_none(value: str) -> None:
    text = f"<familiar-{SUFFIX}>{value}</familiar-{SUFFIX}>"
    parsed = parse_output(text, dialect="json", suffix=SUFFIX)
    assert parsed.plan is None
    assert [problem.name for problem in parsed.problems] == ["plan_shape"]


def test_a_bare_json_object_is_a_plan() -> None:
    text = json.dumps({"continue": False, "worker_calls": []})
    for answer in (text, f"```json\n{text}\n```"):
        parsed = parse_output(answer, dialect="json", suffix=SUFFIX)
        assert parsed.plan == {"continue": False, "worker_calls": []}


def test_a_forgotten_closer_before_the_next_call_is_repaired() -> None:
    text = write("xml", CALLS).replace(f"</call-{SUFFIX}>\n", "", 1)
    parsed = parse_output(text, dialect="xml", suffix=SUFFIX)
    assert parsed.plan == {"continue": True, "worker_calls": CALLS}
    assert [repair.name for repair in parsed.repairs] == ["missing_value_close"]


def test_two_plans_are_none() -> None:
    text = write("xml", CALLS) + "\n" + write("xml", CALLS[1:])
    parsed = parse_output(text, dialect="xml", suffix=SUFFIX)
    assert parsed.plan is None
    assert parsed.problems


def test_a_plan_put_into_a_tool_call_is_lifted_and_named() -> None:
    carried = (
        '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="write_file">\n'
        f'<｜DSML｜parameter name="content" string="true">{write("xml", CALLS)}'
        "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
    )
    parsed = parse_output(carried, dialect="xml", suffix=SUFFIX)
    assert parsed.plan == {"continue": True, "worker_calls": CALLS}
    assert [repair.name for repair in parsed.repairs] == ["lifted_plan"]


def test_the_suffix_is_of_this_run_and_turn() -> None:
    assert wire_suffix("a", 1) == wire_suffix("a", 1)
    assert len({wire_suffix(run, turn) for run in ("a", "b") for turn in range(50)}) == 100


@pytest.mark.parametrize("wire", PLAN_WIRES)
def test_the_instruction_shows_a_plan_that_is_read(wire: str) -> None:
    text = wire_instruction(wire, SUFFIX)
    root = wire_tags(wire, SUFFIX)[0]
    start = text.index(f"<{root}", text.index("\n\n"))
    example = text[start : text.rindex(f"</{root}>") + len(f"</{root}>")]
    parsed = parse_output(example, dialect=wire, suffix=SUFFIX)
    assert parsed.problems == ()
    assert parsed.plan is not None
    assert RESERVED_TAG_NAMES.isdisjoint(wire_tags(wire, SUFFIX))


def test_an_unknown_wire_or_dialect_is_an_error() -> None:
    with pytest.raises(WireError, match="yaml"):
        wire_instruction("yaml", SUFFIX)
    with pytest.raises(WireError, match="klingon"):
        parse_output("x", dialect="klingon")


@pytest.mark.parametrize("wire", PLAN_WIRES)
def test_of_a_tagged_plan_and_a_bare_one_none_runs(wire: str) -> None:
    tagged = write(wire, CALLS)
    bare = json.dumps({"continue": False, "worker_calls": list(CALLS)})
    for text in (f"{tagged}\n{bare}", f"{bare}\n{tagged}"):
        parsed = parse_output(text, dialect=wire, suffix=SUFFIX)
        assert parsed.plan is None
        assert [problem.name for problem in parsed.problems] == ["plan_repeated"]
