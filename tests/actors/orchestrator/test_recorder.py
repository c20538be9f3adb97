"""The recorder: order, group commit, and what it does when writing fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from actors.orchestrator.recorder import Recorder
from actors.store.failure import StoreReplaced
from actors.store.queries import Reader
from actors.store.store import Store
from familiar import event as e
from familiar.errors import Conflict, StaleEpoch, StoreError
from tests.actors.store.histories import STORY_TEXTS, T0, pragma, ref, story, submitted
from tests.actors.until import until


def draft(body: e.Body, run_id: str = "run-1", **texts: str) -> e.Draft:
    return e.Draft(run_id, body, T0, {ref(text).sha256: text for text in texts.values()})


def turn(number: int, run_id: str = "run-1") -> e.Draft:
    return draft(e.TurnStarted(turn=number), run_id)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/familiar.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store.open(url, create=True)
    yield store
    store.close()


@pytest.fixture
async def recorder(store: Store, tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(store, store.take_epoch(), log_path=tmp_path / "orchestra.log")
    yield recorder
    await recorder.close()


class Disk:
    """Makes the database full and roomy again, by SQLite's own limit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def fill(self) -> None:
        with self._store._lock:
            pages = pragma(self._store, "page_count")
            pragma(self._store, f"max_page_count = {pages}")

    def free(self) -> None:
        with self._store._lock:
            pragma(self._store, "max_page_count = 1000000")


async def test_drafts_become_events_that_are_committed(recorder: Recorder, url: str) -> None:
    events = await recorder.record(
        [
            e.Draft("run-1", body, T0, STORY_TEXTS if place == 0 else {})
            for place, body in enumerate(story())
        ]
    )
    assert [event.seq for event in events] == list(range(1, len(story()) + 1))
    assert {event.epoch for event in events} == {recorder.epoch}
    reader = Reader.open(url)
    assert reader.events("run-1") == events
    assert reader.text(ref("<p>").sha256) == "<p>"
    reader.close()


async def test_many_runs_at_once_each_keep_their_order(recorder: Recorder, store: Store) -> None:
    async def live(run_id: str) -> None:
        await recorder.record([draft(submitted(), run_id)])
        for number in range(1, 40, 2):
            await recorder.record([turn(number, run_id), turn(number + 1, run_id)])

    runs = [f"run-{number}" for number in range(20)]
    await asyncio.gather(*(live(run_id) for run_id in runs))
    for run_id in runs:
        events = list(store.events(run_id))
        assert [event.seq for event in events] == list(range(1, 42))
        assert [event.body for event in events[1:]] == [e.TurnStarted(turn=n) for n in range(1, 41)]


async def test_what_comes_in_during_a_commit_is_one_batch(store: Store) -> None:
    batches: list[int] = []
    append = store.append

    def counted(events: Sequence[e.Event], texts: Mapping[str, str]) -> None:
        batches.append(len(events))
        append(events, texts)

    store.append = counted  # type: ignore[method-assign]
    recorder = Recorder(store, store.take_epoch())
    with store._lock:
        first = recorder.submit([draft(submitted())])
        # The writer has taken the first batch and waits for the lock.
        await until(recorder._incoming.empty)
        rest = [recorder.submit([turn(number)]) for number in range(1, 100)]
    await asyncio.gather(first, *rest)
    await recorder.close()
    assert batches == [1, 99]


async def test_submitted_drafts_keep_the_order_in_which_they_were_handed_in(
    recorder: Recorder,
) -> None:
    handed = [recorder.submit([turn(number)]) for number in range(200)]
    events = [event for events in await asyncio.gather(*handed) for event in events]
    assert [event.seq for event in events] == list(range(1, 201))
    assert [event.body for event in events] == [e.TurnStarted(turn=n) for n in range(200)]


async def test_a_caller_that_goes_away_takes_nothing_back(recorder: Recorder, store: Store) -> None:
    with store._lock:
        task = asyncio.create_task(recorder.record([draft(submitted())]))
        await asyncio.sleep(0)
        task.cancel()
    await recorder.record([turn(1)])
    assert task.cancelled()
    assert [event.seq for event in store.events("run-1")] == [1, 2]


async def test_a_recorder_goes_on_where_the_last_one_stopped(store: Store) -> None:
    for expected in ([1, 2], [3, 4], [5, 6]):
        recorder = Recorder(store, store.take_epoch())
        events = await recorder.record([turn(1), turn(2)])
        await recorder.close()
        assert [event.seq for event in events] == expected
    assert [event.epoch for event in store.events("run-1")] == [1, 1, 2, 2, 3, 3]


# --- failures


async def test_a_full_disk_is_waited_out_and_nothing_is_lost(store: Store) -> None:
    recorder = Recorder(store, store.take_epoch())
    await recorder.record([draft(submitted())])
    disk = Disk(store)
    disk.fill()
    big = "x" * 100_000
    waiting = [recorder.submit([draft(e.TurnStarted(turn=n), text=f"{n}{big}")]) for n in range(5)]
    await until(lambda: recorder.problem is not None)
    assert "disk is full" in str(recorder.problem)
    assert not any(future.done() for future in waiting)
    assert store.last_seq("run-1") == 1

    disk.free()
    await asyncio.gather(*waiting)
    assert recorder.problem is None
    assert [event.seq for event in store.events("run-1")] == [1, 2, 3, 4, 5, 6]
    assert store.text(ref(f"4{big}").sha256) == f"4{big}"
    await recorder.close()


async def test_a_replaced_database_takes_no_new_run_and_open_ones_wait(
    store: Store, tmp_path: Path
) -> None:
    recorder = Recorder(store, store.take_epoch())
    await recorder.record([draft(submitted())])
    path, away = tmp_path / "familiar.db", tmp_path / "away.db"
    path.rename(away)
    with pytest.raises(StoreReplaced, match="was removed"):
        await recorder.record([draft(submitted(session_id="s-2"), "run-2")])
    assert recorder.problem is None
    goes_on = recorder.submit([turn(1)])
    await until(lambda: recorder.problem is not None)
    assert not goes_on.done()
    away.rename(path)
    await goes_on
    assert recorder.problem is None
    assert [event.seq for event in store.events("run-1")] == [1, 2]
    assert store.open_runs() == ["run-1"]
    await recorder.close()


async def test_a_silent_database_is_a_problem(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.orchestrator.recorder.SILENT_S", 0.05)
    recorder = Recorder(store, store.take_epoch())
    with store._transaction():
        assert recorder.problem is None
        await until(lambda: recorder.problem is not None)
        assert "has not answered" in str(recorder.problem)
    assert recorder.problem is None
    await recorder.close()


async def test_closing_on_a_full_disk_ends_and_tells_the_owners(store: Store) -> None:
    recorder = Recorder(store, store.take_epoch())
    await recorder.record([draft(submitted())])
    Disk(store).fill()
    waiting = recorder.submit([draft(e.TurnStarted(turn=1), text="x" * 100_000)])
    await until(lambda: recorder.problem is not None)
    await recorder.close(timeout_s=0.2)
    with pytest.raises(StoreError, match="full"):
        await waiting
    assert store.last_seq("run-1") == 1


async def test_a_newer_orchestrator_is_the_end(store: Store, url: str) -> None:
    recorder = Recorder(store, store.take_epoch())
    await recorder.record([draft(submitted())])
    newer = Store.open(url, create=False)
    newer.take_epoch()
    waiting = [recorder.submit([turn(number)]) for number in range(3)]
    for future in waiting:
        with pytest.raises(StaleEpoch):
            await future
    with pytest.raises(StaleEpoch):
        await recorder.record([turn(9)])
    await recorder.close()
    assert newer.last_seq("run-1") == 1
    newer.close()


async def test_only_the_owner_of_a_bad_draft_gets_the_error(
    recorder: Recorder, store: Store
) -> None:
    await recorder.record([draft(submitted(idempotency_key="k"), "first")])
    with store._lock:
        blocker = recorder.submit([turn(0)])
        await until(recorder._incoming.empty)
        before = recorder.submit([turn(1, "a")])
        bad = recorder.submit([draft(submitted(idempotency_key="k"), "second")])
        lone = e.RunEnded.model_construct(outcome="failed", reason="\ud800")
        unwritable = recorder.submit([draft(lone, "b")])
        after = recorder.submit([turn(2, "a")])
    await blocker
    with pytest.raises(Conflict):
        await bad
    with pytest.raises(StoreError, match="cannot be written"):
        await unwritable
    assert [event.seq for event in [*await before, *await after]] == [1, 2]
    assert store.last_seq("second") == 0
    assert (await recorder.record([draft(submitted(), "second")]))[0].seq == 1


async def test_nobody_waits_for_a_writer_that_broke(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(step: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("actors.orchestrator.recorder.reached", crash)
    recorder = Recorder(store, store.take_epoch())
    recorder._thread.join(0)
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        with pytest.raises(StoreError, match="recorder broke"):
            await recorder.record([draft(submitted())])
        with pytest.raises(StoreError, match="recorder broke"):
            await recorder.record([turn(1)])
        await recorder.close()
    finally:
        threading.excepthook = hook
    assert recorder.problem is not None


async def test_a_closed_recorder_takes_nothing(recorder: Recorder) -> None:
    await recorder.close()
    with pytest.raises(StoreError, match="closed"):
        await recorder.record([turn(1)])


async def test_closing_commits_what_was_handed_in(store: Store) -> None:
    recorder = Recorder(store, store.take_epoch())
    handed = [recorder.submit([turn(number)]) for number in range(500)]
    await recorder.close()
    assert all(future.done() for future in handed)
    assert store.last_seq("run-1") == 500


async def test_the_crash_hook_strikes_after_the_commit_and_before_anybody_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, bool]] = []
    told: list[int] = []
    runs = ["run-1"]

    def crash(step: str) -> None:
        seen.append((step, store.last_seq(runs[0]), bool(told)))

    monkeypatch.setattr("actors.orchestrator.recorder.reached", crash)
    recorder = Recorder(store, store.take_epoch())
    first = recorder.submit([turn(1), turn(2), turn(3)])
    first.add_done_callback(lambda _: told.append(3))
    await first
    assert seen == [("orchestrator/commit", 3, False)]
    await recorder.record([turn(4)])
    assert seen[1][:2] == ("orchestrator/commit", 4)
    await recorder.close()


# --- those who listen


async def test_waiting_beyond_a_seq(recorder: Recorder) -> None:
    assert await recorder.wait_beyond("run-1", 0, 0.01) == 0
    waiting = [asyncio.create_task(recorder.wait_beyond("run-1", 0, 30)) for _ in range(100)]
    other = asyncio.create_task(recorder.wait_beyond("run-2", 0, 30))
    await asyncio.sleep(0)
    await recorder.record([draft(submitted())])
    assert await asyncio.gather(*waiting) == [1] * 100
    assert not other.done()
    assert await recorder.wait_beyond("run-1", 0, 30) == 1
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert recorder._waiting == {}


async def test_a_run_that_ended_is_forgotten_and_still_known(recorder: Recorder) -> None:
    for body in story():
        await recorder.record([draft(body)])
    assert "run-1" not in recorder._last
    assert "run-1" not in recorder.store._last
    assert await recorder.last_seq("run-1") == len(story())
    assert await recorder.wait_beyond("run-1", 0, 1) == len(story())


# --- what is written beside the history


async def test_the_log_has_one_line_for_each_event(recorder: Recorder, tmp_path: Path) -> None:
    for body in story():
        await recorder.record([draft(body)])
    await recorder.close()
    lines = (tmp_path / "orchestra.log").read_text().splitlines()
    assert [line.split()[2] for line in lines] == [f"#{seq}" for seq in range(1, len(story()) + 1)]
    assert "role=naughty" in lines[12]


async def test_a_log_that_cannot_be_written_does_not_stop_the_run(
    store: Store, tmp_path: Path
) -> None:
    place = tmp_path / "logs"
    place.write_text("a file, where the directory should be")
    recorder = Recorder(store, store.take_epoch(), log_path=place / "orchestra.log")
    await recorder.record([draft(submitted())])
    place.unlink()
    await recorder.record([turn(1)])
    await recorder.close()
    lines = (place / "orchestra.log").read_text().splitlines()
    assert [line.split()[2] for line in lines] == ["#1", "#2"]
