"""A guessed length questions a call once; a stated one rejects it every time."""

from __future__ import annotations

import json

from familiar.event import PlanAccepted, PlannedCall, PlanRejected
from familiar.plan.judge import judge_plan
from tests.familiar.plan.views import view

GUESSED = "Write a page with 40 sections and 40 examples."
STATED = "Write 6000 words about clocks."
WIDE_ROLE = {"queue_deadline_s": 60.0, "max_tokens": 4_096, "context_length": 16_384}


def call(name: str, prompt: str) -> PlannedCall:
    return PlannedCall(id=name, alias="grandpa", prompt=prompt)


def judge(
    *calls: PlannedCall,
    doubted: tuple[str, ...] = (),
    rates: dict[str, float] | None = None,
    role: dict[str, float | int] | None = None,
) -> PlanAccepted | PlanRejected:
    plan = [one.model_dump(include={"id", "alias", "prompt", "depends_on"}) for one in calls]
    seen = view(files=(), shares_parts=False, max_calls=40, doubted=doubted, rates=rates, role=role)
    return judge_plan(json.dumps({"continue": False, "worker_calls": plan}), seen, attempt=1)


def rejected(body: PlanAccepted | PlanRejected) -> PlanRejected:
    assert isinstance(body, PlanRejected)
    return body


def test_a_guess_questions_a_call_and_says_how_to_keep_it() -> None:
    first = rejected(judge(call("a", GUESSED)))
    assert [(problem.code, problem.call) for problem in first.problems] == [("oversized", "a")]
    assert "send the same call again" in first.problems[0].message


def test_the_same_call_again_runs_and_the_doubt_is_on_the_record() -> None:
    first = rejected(judge(call("a", GUESSED)))
    second = judge(call("renamed", GUESSED), doubted=first.doubted)
    assert isinstance(second, PlanAccepted)
    (doubt,) = second.repairs
    assert (doubt.code, doubt.call) == ("length_doubted", "renamed")
    assert "cut at 512 tokens" in doubt.message
    assert "send the same call" not in doubt.message


def test_a_stated_length_is_rejected_every_time() -> None:
    first = rejected(judge(call("a", STATED)))
    assert first.doubted == ()
    second = rejected(judge(call("a", STATED), doubted=first.doubted))
    assert "oversized" in {problem.code for problem in second.problems}
    assert "send the same call" not in second.problems[-1].message


def test_a_prompt_that_fills_the_context_is_rejected_every_time() -> None:
    body = rejected(judge(call("a", "Sum this up. " + "lorem ipsum " * 2_000)))
    assert [problem.code for problem in body.problems] == ["oversized"]
    assert body.doubted == ()


def test_a_call_that_was_questioned_runs_beside_another_that_changed() -> None:
    first = rejected(judge(call("a", GUESSED), call("b", "Say hello.")))
    second = judge(call("a", GUESSED), call("b", "Say good evening."), doubted=first.doubted)
    assert isinstance(second, PlanAccepted)


def test_another_call_is_questioned_although_one_was_before() -> None:
    first = rejected(judge(call("a", GUESSED)))
    other = call("b", "Write a page with 50 sections and 30 examples.")
    second = rejected(judge(call("a", GUESSED), other, doubted=first.doubted))
    assert [problem.call for problem in second.problems] == ["b"]


def test_a_width_by_guesses_is_questioned_once() -> None:
    calls = [call(f"c{n}", f"Write 4 paragraphs about number {n}.") for n in range(20)]
    rates: dict[str, float] = {"grandpa": 5.0}
    first = rejected(judge(*calls, rates=rates, role=dict(WIDE_ROLE)))
    assert [problem.code for problem in first.problems] == ["too_wide"]
    again = judge(*calls, doubted=first.doubted, rates=rates, role=dict(WIDE_ROLE))
    assert isinstance(again, PlanAccepted)
    assert [doubt.code for doubt in again.repairs] == ["length_doubted"]


def test_a_width_by_stated_lengths_is_rejected_every_time() -> None:
    calls = [call(f"c{n}", f"Write 200 words about number {n}.") for n in range(20)]
    rates: dict[str, float] = {"grandpa": 5.0}
    first = rejected(judge(*calls, rates=rates, role=dict(WIDE_ROLE)))
    assert [problem.code for problem in first.problems] == ["too_wide"]
    assert first.doubted == ()
