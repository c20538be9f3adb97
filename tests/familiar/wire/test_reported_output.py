"""What models wrote according to public reports, where that material is at hand.

Each case says what a careful engineer expects of one answer. Here every case has to come out so;
`NOT_FOLLOWED` names the ones whose expectation we judge wrong, with the reason.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from familiar.event import PlanAccepted
from familiar.plan.judge import judge_plan
from familiar.plan.read import PlanWire
from familiar.wire import OutputParser, ParsedOutput, parse_output
from tests.familiar.plan.views import view

REPORTS = Path(__file__).resolve().parents[3].parent / "shared" / "reports"
NOT_FOLLOWED: dict[str, str] = {}


@cache
def cases(kind: str) -> list[dict[str, Any]]:
    file = REPORTS / "model_output.jsonl"
    if not file.is_file():
        return []
    read = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [case for case in read if _kind(case["dialect"]) == kind]


def _kind(dialect: str) -> str:
    return dialect.partition(":")[0] if ":" in dialect else "native"


def params(kind: str) -> list[Any]:
    found = [pytest.param(case, id=f"{case['id']}: {case['kind']}") for case in cases(kind)]
    missing = pytest.mark.skip(
        reason=f"{REPORTS} is not there: the reported cases are kept outside"
    )
    return found or [pytest.param({}, id="absent", marks=missing)]


def tools_of(case: dict[str, Any]) -> list[dict[str, Any]] | None:
    offered: list[dict[str, Any]] | str | None = case.get("tools")
    if not isinstance(offered, str):
        return offered
    read: list[dict[str, Any]] = json.loads((REPORTS / offered).read_text(encoding="utf-8"))
    return read


def holds(case: dict[str, Any], parsed: ParsedOutput) -> bool:
    """Whether `parsed` is what the case expects."""
    expected = case["expected"]
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in parsed.calls]
    violated = any(call.violations for call in parsed.calls)
    told = not calls and bool(parsed.problems)
    ran = calls == expected.get("calls") and not violated
    outcomes = {
        "run": ran,
        "told": told,
        "run_or_told": ran or told,
        "not_run": not calls,
        "text": not calls and (not parsed.problems or expected.get("problems_ok", False)),
        "run_and_told": ran and bool(parsed.problems),
        "run_or_violation": ran or violated or told,
        "no_lone_surrogate": _encodable(parsed),
    }
    right = outcomes[expected["outcome"]]
    if "content" in expected:
        right &= parsed.content.strip() == expected["content"].strip()
    right &= all(piece in parsed.content for piece in expected.get("content_has", []))
    right &= not any(piece in parsed.content for piece in expected.get("content_lacks", []))
    if "reasoning_has" in expected:
        right &= expected["reasoning_has"] in (parsed.reasoning or "")
    if "problems" in expected:
        right &= {problem.name for problem in parsed.problems} >= set(expected["problems"])
    return right


def _encodable(parsed: ParsedOutput) -> bool:
    try:
        written = json.dumps([dict(call.arguments) for call in parsed.calls], ensure_ascii=False)
        (written + parsed.content + (parsed.reasoning or "")).encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize("case", params("native"))
def test_an_answer_is_read_as_a_careful_person_would(case: dict[str, Any]) -> None:
    offered = tools_of(case)
    asked = {"dialect": case["dialect"], "tools": offered, "in_reasoning": case["in_reasoning"]}
    parsed = parse_output(case["text"], finish_reason=case["finish_reason"], **asked)
    assert holds(case, parsed) is (case["id"] not in NOT_FOLLOWED), parsed
    live = OutputParser(**asked)
    for character in case["text"]:
        live.feed(character)
    assert live.finish(case["finish_reason"]) == parsed


@pytest.mark.parametrize("case", params("plan"))
def test_a_plan_is_judged_as_a_careful_person_would(case: dict[str, Any]) -> None:
    wire = PlanWire(case["dialect"].partition(":")[2], "abc123")
    judged = judge_plan(
        case["plan"],
        view(files=(), shares_parts=False),
        1,
        wire=wire,
        finish_reason=case["finish_reason"],
    )
    judged.model_dump_json()
    expected = case["expected"]
    if not isinstance(judged, PlanAccepted):
        assert expected["outcome"] in ("reject", "accept_or_reject"), judged
        codes = {problem.code for problem in judged.problems}
        assert codes & set(expected.get("codes", codes))
        return
    assert expected["outcome"] in ("accept", "accept_or_reject"), judged
    called = {call.id: call.model_dump() for call in judged.calls}
    assert [call["id"] for call in expected["calls"]] == [*called]
    for call in expected["calls"]:
        assert {key: called[call["id"]][key] for key in call} == call
