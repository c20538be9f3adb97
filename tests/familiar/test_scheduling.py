"""Queues, limits and routes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from familiar.call import CallKey
from familiar.scheduling import Scheduler, Waiting


def key(name: str) -> CallKey:
    return CallKey("r", name, 1)


def waiting(name: str, **other: object) -> Waiting:
    return Waiting(key(name), "naughty", 0.0, **other)  # type: ignore[arg-type]


def scheduler(*, parallel: int = 8, slots: int = 2, replicas: int = 2) -> Scheduler:
    made = Scheduler([("naughty", "pool", parallel)])
    for index in range(replicas):
        made.set_replica("pool", f"pool:{index}", slots=slots, ready=True)
    return made


def test_the_critical_path_goes_first_and_then_who_came_first() -> None:
    made = scheduler(parallel=1)
    for name, rank in (("late", 1), ("urgent", 3), ("later", 1)):
        made.offer(waiting(name, rank=rank))
    order = []
    while assigned := made.assign():
        order += [a.waiting.key.call_id for a in assigned]
        made.release(assigned[0].waiting.key)
    assert order == ["urgent", "late", "later"]


def test_calls_spread_over_the_least_loaded_replicas() -> None:
    made = scheduler()
    for name in "abcd":
        made.offer(waiting(name))
    assert [a.replica for a in made.assign()] == ["pool:0", "pool:1", "pool:0", "pool:1"]


def test_a_call_goes_home_to_its_prefix_and_avoids_what_failed_it() -> None:
    made = scheduler()
    made.offer(waiting("home", home="pool:1"))
    made.offer(waiting("burnt", avoid=frozenset({"pool:0"})))
    replicas = {a.waiting.key.call_id: a.replica for a in made.assign()}
    assert replicas == {"home": "pool:1", "burnt": "pool:1"}


def test_an_avoided_replica_is_better_than_none_and_the_reason_says_so() -> None:
    made = scheduler(replicas=1)
    made.offer(waiting("burnt", avoid=frozenset({"pool:0"})))
    (assignment,) = made.assign()
    assert assignment.replica == "pool:0"
    assert any("only pool:0" in reason for reason in assignment.reasons)


def test_nothing_goes_to_a_replica_that_is_not_ready() -> None:
    made = scheduler(replicas=1)
    made.set_replica("pool", "pool:0", slots=2, ready=False)
    made.offer(waiting("a"))
    assert made.assign() == []
    made.set_replica("pool", "pool:0", slots=2, ready=True)
    assert len(made.assign()) == 1


@given(
    st.lists(st.integers(0, 30), max_size=60),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_limits_hold_and_everybody_is_served(
    ranks: list[int], parallel: int, slots: int, replicas: int
) -> None:
    made = scheduler(parallel=parallel, slots=slots, replicas=replicas)
    for index, rank in enumerate(ranks):
        made.offer(waiting(f"c{index}", rank=rank))
    running: list[CallKey] = []
    served: set[str] = set()
    while True:
        running += [a.waiting.key for a in made.assign()]
        assert len(running) <= min(parallel, slots * replicas)
        assert all(made.in_flight("pool", f"pool:{r}") <= slots for r in range(replicas))
        if not running:
            break
        done = running.pop(0)
        served.add(done.call_id)
        made.release(done)
    assert served == {f"c{index}" for index in range(len(ranks))}
