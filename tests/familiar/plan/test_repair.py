"""What a plan asks to be handed on in full has to be there in time."""

from __future__ import annotations

from familiar.event import PlannedCall
from familiar.plan.lint import lint
from familiar.plan.read import ReadPlan
from tests.familiar.plan.views import view


def call(name: str, file: str | None = None, **more: tuple[str, ...]) -> PlannedCall:
    alias = "naughty" if file else "grandpa"
    return PlannedCall(id=name, alias=alias, prompt="Do it.", output_file=file, **more)


def linted(*calls: PlannedCall, made: tuple[str, ...] = ()) -> tuple[list[str], list[PlannedCall]]:
    found = lint(ReadPlan(True, calls), view(made=made, shares_parts=False))
    return [problem.code for problem in found.problems], list(found.calls)


def test_a_file_that_is_there_can_be_needed() -> None:
    codes, calls = linted(call("page", "index.html", needs=("style.md",)), made=("style.md",))
    assert codes == []
    assert calls[0].depends_on == ()


def test_a_call_waits_for_the_writer_of_what_it_needs() -> None:
    codes, calls = linted(call("page", "index.html"), call("check", needs=("index.html",)))
    assert codes == []
    assert calls[1].depends_on == ("page",)


def test_a_need_that_is_waited_for_already_changes_nothing() -> None:
    plan = (
        call("page", "index.html"),
        call("check", needs=("index.html",), depends_on=("page",)),
    )
    assert linted(*plan) == ([], list(plan))


def test_a_file_that_is_nowhere_is_an_unknown_need() -> None:
    codes, _ = linted(call("page", "index.html", needs=("palette.md",)))
    assert codes == ["unknown_need"]


def test_a_call_cannot_need_what_it_writes_itself_unless_it_is_there() -> None:
    page = call("page", "index.html", needs=("index.html",))
    assert linted(page)[0] == ["unknown_need"]
    assert linted(page, made=("index.html",))[0] == []


def test_needs_that_wait_for_each_other_are_a_cycle() -> None:
    codes, _ = linted(
        call("one", "index.html", needs=("about.html",)),
        call("two", "about.html", needs=("index.html",)),
    )
    assert "dependency_cycle" in codes
