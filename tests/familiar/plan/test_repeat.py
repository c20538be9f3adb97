"""A plan that failed is not run again, under whatever ids and in nearly the same words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.event import PlanAccepted, PlannedCall, PlanRejected
from familiar.plan.fingerprint import NEAR, digest, fingerprint
from familiar.plan.judge import judge_plan
from familiar.plan.repeat import repeat_findings
from familiar.plan.view import FailedPlan, TurnView
from tests.familiar.plan.views import view

PROMPT = (
    "Write the landing page of the clinic with a hero, the opening hours, a price list, three "
    "short texts about the doctors and a map."
)


def call(
    name: str, prompt: str = PROMPT, *after: str, file: str | None = None, alias: str = "naughty"
) -> PlannedCall:
    return PlannedCall(id=name, alias=alias, prompt=prompt, depends_on=after, output_file=file)


PAIR = (call("a", file="index.html"), call("b", "Review it against the goal.", "a"))


def failed(*calls: PlannedCall, blame: str = "") -> TurnView:
    plan = FailedPlan(1, calls, {"a": "call_oversized: 300 s were over"}, frozenset({blame}))
    return view(shares_parts=False, turn=2, failed_plans=(plan,))


def messages(seen: TurnView, *calls: PlannedCall) -> list[str]:
    problems = [found.problem for found in repeat_findings(calls, seen)]
    assert {problem.code for problem in problems} <= {"plan_repeated"}
    return [problem.message for problem in problems]


class TestWholePlans:
    def test_the_same_plan_under_other_ids_and_in_another_order_is_the_same(self) -> None:
        again = (call("z", "Review it against the goal.", "y"), call("y", file="index.html"))
        (message,) = messages(failed(*PAIR), *again)
        assert "equal" in message
        assert "turn 1" in message
        assert "300 s were over" in message

    def test_case_space_and_one_other_word_make_no_other_plan(self) -> None:
        near = PROMPT.upper().replace("SHORT", "brief").replace(" ", "\n ")
        (message,) = messages(
            failed(*PAIR),
            call("c", near, file="index.html"),
            call("d", "Review it against the goal.", "c"),
        )
        assert "nearly equal" in message

    @pytest.mark.parametrize(
        "change",
        [
            (call("a", file="about.html"), PAIR[1]),
            (call("a", file="index.html", alias="grandpa"), PAIR[1]),
            (PAIR[0], call("b", "Review it against the goal.")),
            (PAIR[0],),
            (call("a", "Write the hero of the landing page only.", file="index.html"), PAIR[1]),
        ],
    )
    def test_another_file_role_edge_or_prompt_is_another_plan(
        self, change: tuple[PlannedCall, ...]
    ) -> None:
        assert messages(failed(*PAIR), *change) == []

    def test_the_same_words_with_a_clearly_shorter_ask_are_another_plan(self) -> None:
        long = call("a", f"{PROMPT} Use 2000 words.", file="index.html")
        short = call("a", f"{PROMPT} Use 600 words.", file="index.html")
        same = call("a", f"{PROMPT} Use 1900 words.", file="index.html")
        assert messages(failed(long), short) == []
        assert len(messages(failed(long), same)) == 1


class TestSingleCalls:
    def test_a_call_that_asked_for_too_much_is_not_asked_again_within_another_plan(self) -> None:
        other = call("other", "Write the readme.", file="README.md")
        again = call("again", file="index.html")
        (found,) = repeat_findings((other, again), failed(*PAIR, blame="a"))
        assert found.problem.call == "again"
        assert "asks naughty for what a of turn 1 asked for" in found.problem.message
        assert found.doubts == ()

    def test_a_call_that_a_backend_failed_may_be_asked_again(self) -> None:
        other = call("other", "Write the readme.", file="README.md")
        assert messages(failed(*PAIR), other, call("again", file="index.html")) == []


class TestGuesses:
    """Only equal plans and stated lengths are rejected for good."""

    NEAR = PROMPT.replace("short", "brief")

    def judge(self, prompt: str, seen: TurnView) -> PlanAccepted | PlanRejected:
        calls = [{"id": "n", "alias": "naughty", "prompt": prompt, "output_file": "index.html"}]
        answer = json.dumps({"continue": True, "worker_calls": calls})
        return judge_plan(answer, seen, 1)

    def seen(self, before: str = PROMPT, blame: str = "", *doubted: str) -> TurnView:
        seen = failed(call("a", before, file="index.html"), blame=blame)
        return replace(seen, doubted=frozenset(doubted), made=("contract.html",))

    @pytest.mark.parametrize("blame", ["", "a"], ids=["whole plan", "single call"])
    def test_a_near_plan_of_guessed_length_is_questioned_once(self, blame: str) -> None:
        first = self.judge(self.NEAR, self.seen(blame=blame))
        assert isinstance(first, PlanRejected)
        assert [problem.code for problem in first.problems] == ["plan_repeated"]
        assert "send the same call again" in first.problems[0].message
        second = self.judge(self.NEAR, self.seen(PROMPT, blame, *first.doubted))
        assert isinstance(second, PlanAccepted)
        assert [doubt.code for doubt in second.repairs] == ["length_doubted"]
        assert "nearly equal" in second.repairs[0].message

    def test_another_near_plan_is_questioned_by_itself(self) -> None:
        first = self.judge(self.NEAR, self.seen())
        assert isinstance(first, PlanRejected)
        other = self.judge(PROMPT.replace("map", "plan"), self.seen(PROMPT, "", *first.doubted))
        assert isinstance(other, PlanRejected)

    @pytest.mark.parametrize(
        ("before", "again"),
        [
            (PROMPT, PROMPT.upper()),
            (f"{PROMPT} Use 90 words.", f"{PROMPT} Use 88 words."),
            (f"{PROMPT} Use 90 words.", f"{PROMPT} Use 200 words."),
        ],
        ids=["equal", "stated as long", "stated longer"],
    )
    def test_an_equal_plan_and_a_stated_length_are_rejected_every_time(
        self, before: str, again: str
    ) -> None:
        first = self.judge(again, self.seen(before))
        assert isinstance(first, PlanRejected)
        assert first.doubted == ()
        assert "send the same call again" not in first.problems[0].message


class TestRejectedPlans:
    def answer(self, prompt: str) -> str:
        calls = [{"id": "a", "alias": "nobody", "prompt": prompt, "depends_on": []}]
        return json.dumps({"continue": True, "worker_calls": calls})

    def test_the_same_plan_that_was_rejected_is_named_as_repeated_beside_its_problems(self) -> None:
        first = judge_plan(self.answer("Do it."), view(), 1)
        assert isinstance(first, PlanRejected)
        assert first.fingerprint is not None
        seen = view(rejected_plans=(first.fingerprint,))
        second = judge_plan(self.answer("do it"), seen, 2)
        assert isinstance(second, PlanRejected)
        codes = [problem.code for problem in second.problems]
        assert codes[0] == "plan_repeated"
        assert "unknown_alias" in codes
        other = judge_plan(self.answer("Do something else."), seen, 2)
        assert isinstance(other, PlanRejected)
        assert "plan_repeated" not in {problem.code for problem in other.problems}


WORDS = st.lists(
    st.sampled_from(["red", "green", "blue", "one", "two", "three"]), min_size=1, max_size=12
)


@given(st.lists(st.tuples(WORDS, st.sets(st.integers(0, 5))), min_size=1, max_size=6))
def test_ids_never_count_and_a_plan_is_always_equal_to_itself(
    shape: list[tuple[list[str], set[int]]],
) -> None:
    def plan(prefix: str) -> list[PlannedCall]:
        return [
            call(
                f"{prefix}{n}",
                " ".join(words),
                *(f"{prefix}{d}" for d in sorted(deps) if d < n),
                file=f"f{n}",
            )
            for n, (words, deps) in enumerate(shape)
        ]

    assert fingerprint(plan("a")) == fingerprint(plan("b"))
    assert fingerprint(plan("a")) == fingerprint(list(reversed(plan("b"))))
    assert digest(plan("a")).nearness(digest(plan("b"))) == 1.0


@given(WORDS, WORDS)
def test_nearness_is_symmetric_and_a_share(first: list[str], second: list[str]) -> None:
    one, two = digest([call("a", " ".join(first))]), digest([call("b", " ".join(second))])
    assert one.nearness(two) == two.nearness(one)
    assert 0.0 <= one.nearness(two) <= 1.0
    assert NEAR < 1.0
