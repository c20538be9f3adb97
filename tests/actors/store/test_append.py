"""What an append promises, on both databases."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from actors.store.failure import TransientStoreError
from actors.store.store import Store
from familiar import event as e
from familiar.errors import Conflict, StaleEpoch, StoreError
from tests.actors.store.conftest import NewUrl
from tests.actors.store.histories import (
    STORY_TEXTS,
    dispatched,
    dump,
    lost_answer,
    number,
    ref,
    seqs,
    story,
    submitted,
    texts,
)


def test_a_history_is_read_back_as_it_was_written(store: Store) -> None:
    events = number(story(), store.take_epoch())
    store.append(events, STORY_TEXTS)

    assert list(store.events("run-1")) == events
    assert store.last_seq("run-1") == len(events)
    assert {sha: store.text(sha) for sha in STORY_TEXTS} == STORY_TEXTS
    assert store.text("0" * 64) is None


def test_histories_longer_than_a_page_are_read_whole(store: Store) -> None:
    epoch = store.take_epoch()
    bodies = [submitted(), *(e.TurnStarted(turn=turn) for turn in range(1, 1201))]
    store.append(number(bodies, epoch), {})

    assert seqs(list(store.events("run-1"))) == list(range(1, 1202))
    assert seqs(list(store.events("run-1", after=100))) == list(range(101, 1202))


def test_texts_keep_every_character_that_utf8_can_hold(store: Store) -> None:
    text = "nul \x00, emoji \U0001f9d1, rtl \u202e, lone \ud800 surrogate"
    kept = text.encode("utf-8", "replace").decode()
    reference = ref(text)
    store.append(number([submitted(goal=reference)], store.take_epoch()), {reference.sha256: text})

    assert store.text(reference.sha256) == kept
    assert ref(kept) == reference


def test_a_nul_in_an_event_does_not_stop_the_run(store: Store) -> None:
    body = e.RunEnded(outcome="failed", reason="the model wrote \x00")
    store.append(number([submitted(), body], store.take_epoch()), {})

    assert list(store.events("run-1"))[-1].body == body


@pytest.mark.parametrize("seqs_wrong", [[2], [1, 3], [1, 1], [0]])
def test_a_gap_or_a_double_is_rejected_whole(store: Store, seqs_wrong: list[int]) -> None:
    epoch = store.take_epoch()
    events = [e.Event("run-1", seq, epoch, 1.0, submitted()) for seq in seqs_wrong]

    with pytest.raises(StoreError, match=r"run-1 does not follow"):
        store.append(events, {})
    assert store.last_seq("run-1") == 0
    assert list(store.events("run-1")) == []


def test_a_batch_with_one_bad_run_writes_nothing_of_the_others(store: Store) -> None:
    epoch = store.take_epoch()
    before = dump(store)
    good = number([submitted()], epoch, "good")
    bad = number([submitted()], epoch, "bad", first=5)

    with pytest.raises(StoreError, match="bad"):
        store.append([*good, *bad], texts("never"))
    assert dump(store) == before
    assert store.text(ref("never").sha256) is None
    store.append(good, {})
    assert store.last_seq("good") == 1


def test_an_epoch_that_was_never_taken_is_rejected(store: Store) -> None:
    epoch = store.take_epoch()
    with pytest.raises(StoreError, match="never taken"):
        store.append(number([submitted()], epoch + 1), {})
    assert store.last_seq("run-1") == 0


def test_the_older_of_two_writers_is_stopped_and_the_newer_goes_on(new_url: NewUrl) -> None:
    url = new_url()
    old, new = Store.open(url, create=True), Store.open(url, create=True)
    try:
        first = old.take_epoch()
        old.append(number([submitted()], first), {})
        second = new.take_epoch()
        assert second > first

        with pytest.raises(StaleEpoch, match=f"epoch {second}"):
            old.append(number([e.TurnStarted(turn=1)], first, first=2), {})
        new.append(number([e.TurnStarted(turn=7)], second, first=2), {})
        with pytest.raises(StaleEpoch):
            old.append(number([e.TurnStarted(turn=1)], first, first=2), {})

        history = list(new.events("run-1"))
        assert seqs(history) == [1, 2]
        assert history[1].body == e.TurnStarted(turn=7)
    finally:
        old.close()
        new.close()


def test_epochs_taken_at_once_are_all_different(new_url: NewUrl) -> None:
    url = new_url()
    stores = [Store.open(url, create=True) for _ in range(4)]
    taken: list[int] = []
    threads = [
        threading.Thread(target=lambda s=s: taken.extend(s.take_epoch() for _ in range(5)))
        for s in stores
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sorted(taken) == list(range(1, 21))


def test_open_runs_are_those_without_an_end_oldest_first(store: Store) -> None:
    epoch = store.take_epoch()
    for at, run_id in enumerate(["c", "a", "b"]):
        store.append([e.Event(run_id, 1, epoch, float(at), submitted())], {})
    store.append([e.Event("a", 2, epoch, 9.0, e.RunEnded(outcome="succeeded", reason="done"))], {})
    store.append([e.Event("b", 2, epoch, 9.0, e.RunCancelRequested())], {})

    assert store.open_runs() == ["c", "b"]


def test_an_idempotency_key_belongs_to_one_run(store: Store) -> None:
    epoch = store.take_epoch()
    store.append(number([submitted(idempotency_key="k")], epoch, "first"), {})

    with pytest.raises(Conflict, match="idempotency key"):
        store.append(number([submitted(idempotency_key="k")], epoch, "second"), {})
    assert store.find_idempotent("k") == "first"
    assert store.find_idempotent("other") is None
    assert store.last_seq("second") == 0
    store.append(number([submitted()], epoch, "second"), {})


@pytest.mark.postgres
def test_postgresql_goes_on_after_its_connection_was_cut(postgres_urls: NewUrl) -> None:
    store = Store.open(postgres_urls(), create=True)
    try:
        epoch = store.take_epoch()
        events = number(story(), epoch)
        store.append(events[:5], {})
        with store._engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreError):
            store.append(events[5:], {})
        store.append(events[5:], {})
        assert list(store.events("run-1")) == events
    finally:
        store.close()


def test_a_commit_whose_answer_was_lost_is_not_written_twice(store: Store) -> None:
    """A connection can break after the server committed. The repeated append sees it."""
    epoch = store.take_epoch()
    store.append(number([submitted()], epoch), {})
    events = number([e.TurnStarted(turn=1), dispatched("a")], epoch, first=2)
    with lost_answer(store), pytest.raises(TransientStoreError):
        store.append(events, {})
    store.append(events, {})
    store.append([replace(events[0], seq=4)], {})

    assert seqs(list(store.events("run-1"))) == [1, 2, 3, 4]
