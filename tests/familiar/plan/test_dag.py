"""A plan as a graph: order, ranks, depths, ancestors, and cycles with their members."""

from __future__ import annotations

from familiar.event import PlannedCall
from familiar.plan.dag import Dag, dag


def graph(**after: str) -> Dag:
    """`graph(b="a")`: b depends on a."""
    return dag(
        [
            PlannedCall(id=name, alias="x", prompt="p", depends_on=tuple(names.split()))
            for name, names in after.items()
        ]
    )


def test_a_diamond() -> None:
    found = graph(d="b c", b="a", c="a", a="")
    assert (found.order[0], found.order[-1]) == ("a", "d")
    assert found.ranks() == {"a": 3, "b": 2, "c": 2, "d": 1}
    assert found.depths() == {"a": 0, "b": 1, "c": 1, "d": 2}
    assert found.ancestors("d") == {"a", "b", "c"}
    assert found.heaviest({"a": 1.0, "b": 5.0, "c": 2.0}) == {
        "a": 1.0,
        "b": 6.0,
        "c": 3.0,
        "d": 6.0,
    }
    assert found.stuck == frozenset()


def test_a_cycle_is_named_by_its_members_and_not_by_the_calls_behind_it() -> None:
    found = graph(a="b", b="a", behind="a", free="")
    assert set(found.cycle) == {"a", "b"}
    assert found.stuck == {"a", "b", "behind"}
    assert found.order == ("free",)


def test_dependencies_outside_the_plan_and_on_itself_are_no_edges() -> None:
    found = graph(a="a earlier", b="a a")
    assert found.order == ("a", "b")
    assert found.ancestors("b") == {"a"}
    assert found.cycle == ()


def test_a_long_chain_takes_no_recursion() -> None:
    found = graph(**{f"c{n}": f"c{n - 1}" if n else "" for n in range(5_000)})
    assert found.depths()["c4999"] == 4_999
    assert found.ranks()["c0"] == 5_000
