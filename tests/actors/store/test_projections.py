"""Projections follow from the events alone, whatever way they came."""

from __future__ import annotations

import typing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from actors.store.projections import PROJECT
from actors.store.store import Store
from actors.store.tables import DECISIONS, EVENTS, MODEL_CALLS, PROJECTIONS, RUNS
from familiar import event as e
from tests.actors.store.conftest import NewStore
from tests.actors.store.histories import STORY_TEXTS, bodies, dump, number, story, submitted

NAMES = ["run-1", "run-2", "run-3"]
SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _clear(store: Store) -> int:
    """Empty the history, which is cheaper than a new database for each example."""
    with store._transaction() as transaction:
        for table in (EVENTS, *reversed(PROJECTIONS)):
            transaction.execute(delete(table))
    return store.take_epoch()


@given(
    history=st.lists(st.tuples(st.sampled_from(NAMES), bodies()), max_size=30),
    cuts=st.lists(st.integers(1, 8), max_size=30),
)
@SETTINGS
def test_any_history_gives_the_same_rows_in_any_batches_and_after_a_rebuild(
    store: Store, history: list[tuple[str, e.Body]], cuts: list[int]
) -> None:
    def events(epoch: int) -> list[e.Event]:
        seq = dict.fromkeys(NAMES, 0)
        made = []
        for at, (run_id, body) in enumerate(history):
            seq[run_id] += 1
            made.append(e.Event(run_id, seq[run_id], epoch, float(at), body))
        return made

    for event in events(_clear(store)):
        store.append([event], {})
    one_by_one = dump(store)

    left = events(_clear(store))
    for size in [*cuts, len(left)]:
        store.append(left[:size], {})
        left = left[size:]
    assert dump(store) == one_by_one

    assert store.rebuild_projections() == len(history)
    assert dump(store) == one_by_one


def test_a_rebuild_repairs_rows_that_were_damaged(new_store: NewStore) -> None:
    store = new_store()
    epoch = store.take_epoch()
    for run_id in ("run-1", "run-2"):
        key = {"idempotency_key": f"key of {run_id}"}
        first, *rest = story()
        assert isinstance(first, e.RunSubmitted)
        told = [first.model_copy(update=key), *rest]
        store.append(number(told, epoch, run_id), STORY_TEXTS)
    right = dump(store)
    with store._transaction() as transaction:
        transaction.execute(delete(MODEL_CALLS))
        transaction.execute(update(RUNS).values(status="running"))
        transaction.execute(delete(DECISIONS).where(DECISIONS.c.run_id == "run-2"))
    assert dump(store) != right

    store.rebuild_projections()
    assert dump(store) == right


def test_a_session_began_with_its_first_run(store: Store) -> None:
    epoch = store.take_epoch()
    for at, run_id in ((7.0, "second"), (5.0, "first"), (9.0, "third")):
        store.append([e.Event(run_id, 1, epoch, at, submitted())], {})
    assert dump(store)["sessions"] == [("session-1", "/w/session-1", 5.0)]


def test_every_event_has_a_projection() -> None:
    union = typing.get_args(e.Body)[0]
    assert set(PROJECT) == set(typing.get_args(union))
