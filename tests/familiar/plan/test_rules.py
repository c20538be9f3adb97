"""The rules planner, the turn's schema, and upward ranks."""

from __future__ import annotations

import json

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar.errors import FailureClass
from familiar.event import PlanAccepted, RunEnded
from familiar.plan.asks import read_asks
from familiar.plan.dag import dag
from familiar.plan.judge import judge_plan
from familiar.plan.lint import lint
from familiar.plan.read import ReadPlan
from familiar.plan.rules import decide_by_rules, plan_by_rules
from familiar.plan.schema import plan_schema
from familiar.plan.view import CONTRACT_FILE, EarlierCall, FailedPlan, TurnView
from tests.familiar.plan.views import FILES, view

NAMES = st.lists(
    st.from_regex(r"[a-z][a-z0-9_]{0,12}\.(html|md|css)", fullmatch=True), max_size=7, unique=True
)


def test_contract_first_then_pages_side_by_side_then_a_review() -> None:
    plan = plan_by_rules(view(), "the model cannot")
    by_file = {call.output_file: call for call in plan.calls}
    contract = by_file[CONTRACT_FILE]
    assert contract.depends_on == ()
    assert {by_file[name].depends_on for name in FILES} == {(contract.id,)}
    review = by_file[None]
    assert review.alias == "grandpa"
    assert set(review.depends_on) == {by_file[name].id for name in FILES}


def test_a_page_s_prompt_says_what_the_goal_says_of_it() -> None:
    plan = plan_by_rules(view(), "")
    index = next(call for call in plan.calls if call.output_file == "index.html")
    assert "about index.html" in index.prompt
    assert "about.html" not in index.prompt


def test_a_later_turn_plans_only_what_is_missing_and_under_new_ids() -> None:
    earlier = (EarlierCall("about", "naughty", "failed", "about.html", "too long"),)
    seen = view(missing=("about.html",), made=(CONTRACT_FILE,), earlier=earlier, turn=2)
    plan = plan_by_rules(seen, "")
    written = [call for call in plan.calls if call.output_file]
    assert [call.output_file for call in written] == ["about.html"]
    assert written[0].id != "about"
    assert "too long" in written[0].prompt


@settings(deadline=None)
@given(files=NAMES, turn=st.integers(1, 4), shares=st.booleans())
def test_its_plans_pass_the_lint(files: list[str], turn: int, shares: bool) -> None:
    seen = view(files=tuple(files), turn=turn, shares_parts=shares, max_calls=16)
    plan = plan_by_rules(seen, "")
    linted = lint(ReadPlan(plan.continue_, plan.calls), seen)
    assert linted.problems == ()
    assert linted.calls == plan.calls


@settings(deadline=None)
@given(files=NAMES, shares=st.booleans())
def test_the_schema_of_a_turn_admits_the_rules_planner_s_plan(
    files: list[str], shares: bool
) -> None:
    seen = view(files=tuple(files), shares_parts=shares, max_calls=16)
    calls = [
        call.model_dump(mode="json", exclude_none=True, exclude={"needs"})
        for call in plan_by_rules(seen, "").calls
    ]
    for call in calls:
        call["depends_on"] = call["depends_on"][:8]
    jsonschema.validate({"continue": False, "worker_calls": calls}, plan_schema(seen))


def test_the_schema_knows_this_turn_s_roles_and_files_only() -> None:
    schema = plan_schema(view(missing=("about.html",), made=(CONTRACT_FILE,)))
    bad_file = {
        "id": "a",
        "alias": "naughty",
        "prompt": "x" * 9,
        "depends_on": [],
        "output_file": "index.html",
    }
    validator = jsonschema.Draft202012Validator(schema)
    for call, valid in (
        (bad_file, False),
        ({**bad_file, "output_file": "about.html"}, True),
        ({**bad_file, "output_file": "about.html", "alias": "orchestrator"}, False),
    ):
        assert validator.is_valid({"continue": True, "worker_calls": [call]}) is valid


def test_a_plan_under_the_schema_reads_back() -> None:
    plan = plan_by_rules(view(), "")
    text = json.dumps(
        {
            "continue": plan.continue_,
            "worker_calls": [c.model_dump(mode="json", exclude_none=True) for c in plan.calls],
        }
    )
    judged = judge_plan(text, view(), attempt=1)
    assert isinstance(judged, PlanAccepted)
    assert judged.calls == plan.calls


def test_the_longest_chain_goes_first() -> None:
    ranks = dag(plan_by_rules(view(), "").calls).ranks()
    assert ranks["contract"] == 3
    assert ranks["index"] == 2
    assert ranks["review"] == 1


class TestPlansThatFailed:
    def seen(self, turn: int, failure: FailureClass = FailureClass.CALL_OVERSIZED) -> TurnView:
        """Turn `turn` of a run in which `a.md` failed in every turn before, always alike."""
        goal = {"files": ("a.md",), "shares_parts": False, "reviewer": None}
        earlier: tuple[EarlierCall, ...] = ()
        plans: tuple[FailedPlan, ...] = ()
        for number in range(1, turn):
            before = view(turn=number, earlier=earlier, failed_plans=plans, **goal)  # type: ignore[arg-type]
            (call,) = plan_by_rules(before, "").calls
            earlier += (EarlierCall(call.id, call.alias, "failed", "a.md", "the deadline"),)
            plans += (FailedPlan(number, (call,), {call.id: "the deadline"}, failure=failure),)
        return view(turn=turn, earlier=earlier, failed_plans=plans, **goal)  # type: ignore[arg-type]

    def test_what_failed_is_asked_again_for_half_the_length_each_time(self) -> None:
        asked = []
        for turn in (2, 3, 4):
            plan = decide_by_rules(self.seen(turn), "no model")
            assert isinstance(plan, PlanAccepted)
            length = read_asks(plan.calls[0].prompt).length
            assert length is not None
            assert length.capped
            asked.append(length.count)
        assert asked == sorted(asked, reverse=True)
        assert len(set(asked)) == 3

    def test_where_less_makes_no_sense_the_run_ends_and_says_so(self) -> None:
        end = decide_by_rules(self.seen(12), "no model")
        assert isinstance(end, RunEnded)
        assert end.failure_class is FailureClass.PLAN_REPEATED
        assert "the deadline" in end.reason

    def test_a_backend_that_is_gone_is_named_rather_than_the_plan(self) -> None:
        gone = FailureClass.BACKEND_UNREACHABLE
        end = decide_by_rules(self.seen(12, failure=gone), "no model")
        assert isinstance(end, RunEnded)
        assert end.failure_class is gone

    def test_a_contract_that_failed_is_asked_otherwise(self) -> None:
        first = plan_by_rules(view(), "")
        earlier = (EarlierCall("contract", "naughty", "failed", CONTRACT_FILE, "the deadline"),)
        failed = FailedPlan(1, first.calls, {"contract": "the deadline"})
        plan = decide_by_rules(view(turn=2, earlier=earlier, failed_plans=(failed,)), "")
        assert isinstance(plan, PlanAccepted)
        assert "the deadline" in plan.calls[0].prompt
