"""Bad plans are rejected before they run, each with its code; valid ones pass unchanged."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.event import PlanAccepted, PlannedCall, PlanRejected
from familiar.plan import lint as lint_module
from familiar.plan.judge import judge_plan, reject_paths
from familiar.plan.lint import lint
from familiar.plan.read import ReadPlan, read_plan
from familiar.plan.view import CONTRACT_FILE, EarlierCall, TurnView
from tests.familiar.plan.views import view


def call(
    name: str, *, file: str | None = None, after: tuple[str, ...] = (), **other: str
) -> dict[str, object]:
    found: dict[str, object] = {
        "id": name,
        "alias": "naughty",
        "prompt": f"write {name}",
        "depends_on": list(after),
        **other,
    }
    return found if file is None else {**found, "output_file": file}


def answer(*calls: dict[str, object], more: bool = True) -> str:
    return json.dumps({"continue": more, "worker_calls": list(calls)})


def codes(text: str, seen: TurnView | None = None) -> set[str]:
    body = judge_plan(text, seen or view(shares_parts=False), attempt=1)
    return {p.code for p in body.problems} if isinstance(body, PlanRejected) else set()


README = call("readme", file="README.md")


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("unknown_alias", [call("a", file="README.md", alias="nobody")]),
        ("duplicate_id", [README, call("readme", file="index.html")]),
        ("bad_id", [call("Not An Id", file="README.md")]),
        ("bad_id", [call("plan-1", file="README.md")]),
        ("unknown_dependency", [call("a", file="README.md", after=("ghost",))]),
        ("self_dependency", [call("a", file="README.md", after=("a",))]),
        (
            "dependency_cycle",
            [
                call("a", file="README.md", after=("b",)),
                call("b", after=("c",)),
                call("c", after=("a",)),
            ],
        ),
        ("path_collision", [README, call("again", file="README.md")]),
        ("empty_prompt", [call("a", file="README.md", prompt="  ")]),
        ("no_progress", [call("a")]),
        ("no_progress", []),
        ("too_many_calls", [call(f"c{n}") for n in range(9)]),
    ],
)
def test_each_rule_rejects_what_it_is_for(code: str, calls: list[dict[str, object]]) -> None:
    assert code in codes(answer(*calls))


@pytest.mark.parametrize(
    "path",
    [
        "../out.html",
        "/etc/passwd",
        "a/../../b",
        "~/x",
        ".git/config",
        ".familiar/x",
        "a//b",
        "a\\b",
        "a\nb",
        "",
        "x" * 300,
    ],
)
def test_a_path_out_of_the_workspace_is_rejected(path: str) -> None:
    assert "path_escape" in codes(answer(README, call("a", file=path)))


@pytest.mark.parametrize("path", ["sub/.git/hooks/x", "git~1/x", "x" * 256, "a/\x85"])
def test_a_path_that_the_workspace_would_reject_is_rejected_in_the_plan(path: str) -> None:
    assert "path_escape" in codes(answer(README, call("a", file=path)))


def test_a_file_cannot_be_a_folder_as_well() -> None:
    assert "path_collision" in codes(answer(README, call("a", file="d"), call("b", file="d/x.md")))
    assert "path_collision" not in codes(
        answer(README, call("a", file="d"), call("b", file="d2/x"))
    )


def test_a_last_plan_that_leaves_files_out_is_rejected_and_says_which() -> None:
    body = judge_plan(answer(README, more=False), view(shares_parts=False), attempt=1)
    assert isinstance(body, PlanRejected)
    assert "about.html" in body.problems[0].message


def test_an_id_of_an_earlier_turn_is_taken() -> None:
    earlier = (EarlierCall("readme", "naughty", "failed", "README.md", "too long"),)
    assert "duplicate_id" in codes(
        answer(README), view(shares_parts=False, earlier=earlier, turn=2)
    )


class TestContract:
    def test_pages_that_share_parts_need_the_call_that_writes_them(self) -> None:
        assert "contract_missing" in codes(answer(call("index", file="index.html")), view())

    def test_pages_that_the_goal_did_not_name_share_parts_as_well(self) -> None:
        seen = view(files=())
        one, two = call("a", file="a.html"), call("b", file="b.html")
        assert "contract_missing" in codes(answer(one, two), seen)
        assert codes(answer(one), seen) == set()
        assert codes(answer(call("shared", file=CONTRACT_FILE), one, two), seen) == set()

    def test_a_page_that_forgot_to_wait_for_the_contract_is_repaired_on_the_record(self) -> None:
        text = answer(call("shared", file=CONTRACT_FILE), call("index", file="index.html"))
        body = judge_plan(text, view(), attempt=1)
        assert isinstance(body, PlanAccepted)
        assert body.calls[1].depends_on == ("shared",)
        assert [repair.code for repair in body.repairs] == ["contract_dependency"]

    def test_an_existing_contract_is_not_asked_for_again(self) -> None:
        seen = view(made=(CONTRACT_FILE,))
        assert codes(answer(call("index", file="index.html")), seen) == set()


def test_a_valid_plan_passes_unchanged() -> None:
    calls = [
        call("shared", file=CONTRACT_FILE),
        call("index", file="index.html", after=("shared",)),
        call("about", file="about.html", after=("shared",)),
        README,
    ]
    body = judge_plan(answer(*calls, more=False), view(), attempt=1)
    assert isinstance(body, PlanAccepted)
    assert body.repairs == ()
    assert [c.model_dump(exclude_none=True, exclude={"needs"}) for c in body.calls] == [
        {**c, "depends_on": tuple(c["depends_on"])}  # type: ignore[arg-type]
        for c in calls
    ]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("wire_missing", ""),
        ("wire_missing", "nonsense"),
        ("wire_missing", "[" * 100_000),
        ("wire_malformed", '{"continue": tr'),
        ("plan_malformed", "[]"),
        ("plan_malformed", "{}"),
        ("plan_malformed", '{"continue": "yes", "worker_calls": []}'),
        ("plan_malformed", '{"continue": true, "worker_calls": [1]}'),
    ],
)
def test_what_is_no_plan_is_a_problem_and_never_an_exception(code: str, text: str) -> None:
    assert codes(text) == {code}


def test_an_answer_beyond_the_bound_is_not_even_parsed() -> None:
    assert codes('"' + "x" * 600_000 + '"') == {"plan_too_large"}


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    assert isinstance(judge_plan(text, view(), attempt=1), PlanAccepted | PlanRejected)


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4)), max_size=8))
def test_every_plan_that_passes_can_be_run_to_its_end(
    shape: list[tuple[int, list[int]]],
) -> None:
    calls = tuple(
        PlannedCall(
            id=f"c{i}", alias="naughty", prompt="p", depends_on=tuple({f"c{d}" for d in deps})
        )
        for i, deps in shape
    )
    seen = view(files=(), shares_parts=False)
    if lint(ReadPlan(continue_=False, calls=calls), seen).problems:
        return
    done: set[str] = set()
    left = list(calls)
    while left:
        ready = [c for c in left if done.issuperset(c.depends_on)]
        assert ready, f"stuck: {left}"
        done.update(c.id for c in ready)
        left = [c for c in left if c.id not in done]


def test_reading_keeps_order_and_drops_repeated_dependencies() -> None:
    plan = read_plan(answer(call("a", after=("x", "y", "x"))))
    assert isinstance(plan, ReadPlan)
    assert plan.calls[0].depends_on == ("x", "y")


def test_every_code_has_its_section_in_the_readme() -> None:
    """The codes are read from the sources, so that a new rule cannot go undocumented."""
    folder = Path(lint_module.__file__).parent
    codes = {
        code
        for source in folder.glob("*.py")
        for code in re.findall(r'code="([a-z_]+)"', source.read_text("utf-8"))
    }
    assert len(codes) > 15
    readme = (folder / "README.md").read_text("utf-8")
    assert {code for code in codes if f"`{code}`" not in readme} == set()


@pytest.mark.parametrize(
    ("file", "patterns", "rejected"),
    [
        (".github/workflows/ci.yml", (), True),
        ("sub/.GITATTRIBUTES", (), True),
        ("Makefile", ("docs/*",), True),
        ("Makefile", ("Makefile",), False),
        (".github/workflows/ci.yml", (".github/*",), False),
        ("README.md", (), False),
        (".envrc", None, False),
    ],
)
def test_a_file_on_which_programs_act_is_written_only_where_somebody_named_it(
    file: str, patterns: tuple[str, ...] | None, rejected: bool
) -> None:
    seen = replace(view(files=("README.md",), shares_parts=False), acting_files=patterns)
    calls = [README] if file == "README.md" else [README, call("a", file=file)]
    assert ("acting_path" in codes(answer(*calls), seen)) is rejected
    named = view(files=("README.md", file), shares_parts=False)
    assert "acting_path" not in codes(answer(*calls), replace(named, acting_files=patterns))


def test_a_plan_for_files_that_the_workspace_cannot_take_is_rejected_with_its_reasons() -> None:
    body = judge_plan(answer(README, call("a", file="b.md")), view(shares_parts=False), attempt=2)
    assert isinstance(body, PlanAccepted)
    assert reject_paths(body, 2, {}) is body
    found = reject_paths(body, 2, {"b.md": "It has changes."})
    assert isinstance(found, PlanRejected)
    assert [(p.code, p.call) for p in found.problems] == [("path_blocked", "a")]
    assert "It has changes." in found.problems[0].message
    assert (found.turn, found.attempt) == (body.turn, 2)
    assert found.fingerprint
