"""Plans in every wire, read strictly, repaired on the record, refused when they were cut off."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from familiar.event import PlanAccepted, PlanRejected
from familiar.plan.judge import judge_plan
from familiar.plan.read import PlanWire
from familiar.wire import wire_suffix
from tests.familiar.plan.views import view

SUFFIX = wire_suffix("run", 1)
VIEW = view(files=(), shares_parts=False)
CALL = {"id": "n1", "alias": "naughty", "depends_on": [], "prompt": 'Say "hello" & <bye>.'}
ANSWERS = {
    "json": json.dumps({"continue": False, "worker_calls": [CALL]}),
    "xml": f"<familiar-{SUFFIX}>\n<continue-{SUFFIX}>false</continue-{SUFFIX}>\n"
    f'<call-{SUFFIX} id="n1" alias="naughty" depends_on="">\nSay "hello" & <bye>.\n'
    f"</call-{SUFFIX}>\n</familiar-{SUFFIX}>",
    "toml": f'<familiar-{SUFFIX}>\ncontinue = false\n[[worker_calls]]\nid = "n1"\n'
    "alias = \"naughty\"\ndepends_on = []\nprompt = '''\nSay \"hello\" & <bye>.\n'''\n"
    f"</familiar-{SUFFIX}>",
    "html": f'<familiar-plan-{SUFFIX} data-continue="false">\n'
    f'<worker-call-{SUFFIX} data-id="n1" data-alias="naughty" data-depends-on="">\n'
    f'Say "hello" & <bye>.\n</worker-call-{SUFFIX}>\n</familiar-plan-{SUFFIX}>',
}


def judged(
    text: str, wire: str = "json", finish_reason: str | None = None
) -> PlanAccepted | PlanRejected:
    return judge_plan(
        text, VIEW, attempt=1, wire=PlanWire(wire, SUFFIX), finish_reason=finish_reason
    )


@pytest.mark.parametrize("wire", ANSWERS)
def test_one_plan_reads_the_same_in_every_wire(wire: str) -> None:
    body = judged(ANSWERS[wire], wire)
    assert isinstance(body, PlanAccepted)
    (call,) = body.calls
    assert (call.id, call.alias, call.prompt) == ("n1", "naughty", 'Say "hello" & <bye>.')
    assert body.repairs == ()
    assert body.continue_ is False


def test_a_plan_has_as_many_calls_as_the_configuration_allows() -> None:
    calls = [{**CALL, "id": f"n{n}", "prompt": f"Write part {n}."} for n in range(2_000)]
    text = json.dumps({"continue": False, "worker_calls": calls})
    body = judge_plan(text, replace(VIEW, max_calls=2_000), attempt=1, wire=PlanWire("json"))
    assert isinstance(body, PlanAccepted), body.problems
    assert len(body.calls) == 2_000


@pytest.mark.parametrize("wire", ANSWERS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_plan_that_was_cut_off_by_length_is_never_run(wire: str, share: float) -> None:
    text = ANSWERS[wire]
    body = judged(text[: int(len(text) * share)], wire, "length")
    assert isinstance(body, PlanRejected)
    assert [problem.code for problem in body.problems] == ["wire_truncated"]
    assert "cut off" in body.problems[0].message


def test_a_whole_plan_counts_even_when_the_limit_struck_behind_it() -> None:
    assert isinstance(judged(ANSWERS["json"], "json", "length"), PlanAccepted)


def test_a_json_answer_with_broken_quoting_is_repaired_on_the_record() -> None:
    text = ANSWERS["json"].replace('\\"hello\\"', '"hello"')
    body = judged(f"Here is the plan:\n```json\n{text}\n```")
    plain = judged(text)
    assert isinstance(plain, PlanAccepted)
    assert plain.calls[0].prompt == CALL["prompt"]
    assert {repair.code for repair in plain.repairs} == {"wire_unescaped_quote"}
    assert isinstance(body, PlanAccepted | PlanRejected)


def test_prose_around_a_json_plan_does_not_hide_it() -> None:
    body = judged(f"I will do this.\n{ANSWERS['json']}\nDone.")
    assert isinstance(body, PlanAccepted)


def test_another_turn_s_tags_are_rejected_and_the_right_ones_named() -> None:
    stale = ANSWERS["xml"].replace(SUFFIX, wire_suffix("run", 2))
    body = judged(stale, "xml")
    assert isinstance(body, PlanRejected)
    assert [problem.code for problem in body.problems] == ["wire_stale"]
    assert f"familiar-{SUFFIX}" in body.problems[0].message


def test_a_wrong_type_is_named_by_the_call_s_id() -> None:
    wrong = {**CALL, "depends_on": "n0"}
    body = judged(json.dumps({"continue": True, "worker_calls": [wrong]}))
    assert isinstance(body, PlanRejected)
    assert "call n1" in body.problems[0].message
