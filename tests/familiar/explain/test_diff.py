"""Two runs compared: equal ones do not differ, and what differs stands in its section."""

from __future__ import annotations

from familiar.errors import FailureClass as F
from familiar.explain.diff import SECTIONS, Difference, diff, digest
from tests.familiar.explain.histories import History, call


def one_big_call() -> History:
    made = History("site.md")
    made.plan(call("w", file="site.md"))
    made.timed("w", F.CALL_OVERSIZED, rate=50.0)
    made.fail(F.CALL_OVERSIZED)
    return made


def decomposed() -> History:
    made = History("site.md")
    made.plan(call("a"), call("b", "a"), call("c", "a"), call("d", "b", "c"))
    for name in ("a", "b", "c", "d"):
        made.good(name, replica=f"pool:{'cd'.find(name) % 2}")
    made.succeed()
    return made


def test_a_run_does_not_differ_from_itself() -> None:
    found = diff(decomposed().events, decomposed().events)
    assert found.differences == ()
    assert found.same == SECTIONS


def test_the_shape_of_the_plan_is_compared() -> None:
    sections = digest(decomposed().events).sections
    shape = {name: sections["plan"][name] for name in ("calls", "edges", "depth", "width")}
    assert shape == {"calls": 4, "edges": 4, "depth": 3, "width": 2}


def test_the_critical_path_is_the_longest_chain_and_not_the_sum() -> None:
    times = digest(decomposed().events).sections["times"]
    one = 0.1 + 99 / 50 + 0.01
    planning = 0.1 + 59 / 50 + 0.01
    assert times["critical path"] == round(3 * one + planning, 2)


def test_what_differs_is_named_with_both_values_and_a_ratio() -> None:
    found = diff(one_big_call().events, decomposed().events)
    rows = {(row.section, row.name): row for row in found.differences}
    assert rows["outcome", "outcome"] == Difference("outcome", "outcome", "failed", "succeeded")
    assert rows["outcome", "cause"].a == "call_oversized"
    assert rows["plan", "calls"] == Difference("plan", "calls", 1, 4, 4.0)
    assert rows["routes", "pool:0"].a == "1 attempts, 1 failed"
    assert rows["tokens", "output in failed attempts"].b == 0
    assert ("prompts", "worker by naughty") not in rows
