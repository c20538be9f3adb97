"""Cases of our own making for every dialect: read, repaired by name, or rejected by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from familiar.wire import parse_output
from familiar.wire.dialects import AUTO, DIALECTS

FOLDER = Path(__file__).parent / "cases"


def load() -> list[Any]:
    cases = []
    for file in sorted(FOLDER.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            cases.append(pytest.param(file.stem, case, id=f"{file.stem}: {case['name']}"))
    return cases


@pytest.mark.parametrize(("dialect", "case"), load())
def test_case(dialect: str, case: dict[str, Any]) -> None:
    parsed = parse_output(
        case["text"],
        dialect=dialect,
        tools=case["tools"],
        finish_reason=case["finish_reason"],
        in_reasoning=case["in_reasoning"],
    )
    expect = case["expect"]
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in parsed.calls]
    assert calls == expect["calls"]
    assert sorted({repair.name for repair in parsed.repairs}) == sorted(expect["repairs"])
    assert [problem.name for problem in parsed.problems] == expect["problems"]
    assert parsed.plan == expect.get("plan")
    for field in ("content", "reasoning"):
        if field in expect:
            assert getattr(parsed, field) == expect[field]
    assert parsed.raw == case["text"]
    for mark in (*parsed.repairs, *parsed.problems):
        assert 0 <= mark.offset <= len(case["text"])


def test_every_dialect_has_cases_of_its_own() -> None:
    written = {file.stem for file in FOLDER.glob("*.jsonl")}
    assert written == {*DIALECTS, AUTO}
