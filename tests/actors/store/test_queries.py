"""What the API, the CLI and the page can read of a run, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest

from actors.store.queries import Reader
from actors.store.rows import CallRow
from actors.store.store import Store
from familiar import event as e
from familiar.errors import NotFound, StoreError
from tests.actors.store.conftest import NewUrl
from tests.actors.store.histories import (
    ANSWER,
    GOAL,
    PAGE,
    PROMPT,
    STORY_TEXTS,
    T0,
    dispatched,
    failed,
    number,
    ref,
    story,
    submitted,
    succeeded,
)


@pytest.fixture
def url(new_url: NewUrl) -> str:
    return new_url()


@pytest.fixture
def writer(url: str) -> Iterator[Store]:
    store = Store.open(url, create=True)
    yield store
    store.close()


@pytest.fixture
def reader(url: str, writer: Store) -> Iterator[Reader]:
    reader = Reader.open(url)
    yield reader
    reader.close()


@pytest.fixture
def told(writer: Store, reader: Reader) -> Reader:
    """A reader of a database that holds the story."""
    writer.append(number(story(), writer.take_epoch()), STORY_TEXTS)
    return reader


def test_a_run_says_how_it_ended_and_what_it_made(told: Reader) -> None:
    run = told.run("run-1")
    assert (run.status, run.outcome, run.reason) == ("failed", "failed", "about.html is missing")
    assert run.failure_class == "files_missing"
    assert (run.submitted_at, run.ended_at) == (T0 + 1, T0 + 20)
    assert (run.files_wanted, run.files_made) == (("index.html", "about.html"), ("index.html",))
    assert told.text(run.goal_sha256) == GOAL
    assert run.calls == {"succeeded": 1, "published": 1, "failed": 1, "skipped": 1}
    assert (run.turns, run.model_calls, run.last_seq) == (1, 4, 20)
    assert (run.prompt_tokens, run.output_tokens, run.cached_tokens) == (400, 104, 120)
    assert told.list_runs() == [run] == told.session_runs("session-1")
    head = told.head("run-1")
    assert all(getattr(head, name.name) == getattr(run, name.name) for name in fields(head))


def test_the_plan_says_who_planned_and_what_waits_for_what(told: Reader) -> None:
    (plan,) = told.plan("run-1")
    assert (plan.turn.planner, plan.turn.continues) == ("rules", False)
    assert [repair["code"] for repair in plan.turn.repairs] == ["path"]
    assert [(c.call_id, c.status, c.depends_on) for c in plan.calls] == [
        ("index", "published", ()),
        ("about", "failed", ("index",)),
        ("review", "skipped", ("about",)),
    ]
    assert plan.calls[1].needs == ("index.html",)
    assert plan.calls[2].skipped_because == ("about",)


def test_a_call_has_its_attempts_with_times_and_texts(told: Reader) -> None:
    call = told.call("run-1", "index")
    assert [one.status for one in call.attempts] == ["failed", "succeeded"]
    first, second = call.attempts
    assert (first.failure_class, first.partial) == (
        "backend_stalled",
        e.text_ref("<p>").sha256,
    )
    assert first.failure_evidence == {"gap_s": 60.5, "tokens": 12}
    assert (first.replica, second.replica, second.adopted_by) == (
        "smollm2:0",
        "smollm2:1",
        "smollm2:1",
    )
    assert (second.queued_at, second.dispatched_at) == (T0, T0 + 11)
    assert (second.started_at, second.first_token_at, second.ended_at) == (
        T0 + 10,
        T0 + 11,
        T0 + 14,
    )
    assert (second.repairs, second.finish_reason, second.devices) == (
        ("fence",),
        "stop",
        ("cpu:1",),
    )
    assert second.prompt_sha256 is not None
    assert second.raw_sha256 is not None
    assert (told.text(second.prompt_sha256), told.text(second.raw_sha256)) == (PROMPT, PAGE)
    assert (call.prompt, call.attempt, call.failure_class) == ("front page", 2, None)
    assert call.attempts[-1] == second
    assert [one.call_id for one in told.calls("run-1")] == ["plan-1", "index", "about", "review"]
    assert call in told.calls("run-1")


def test_decisions_hold_their_reasons(told: Reader) -> None:
    found = [(d.kind, d.choice, d.reasons) for d in told.decisions("run-1")]
    assert found == [
        ("plan.rejected", "rejected", ("a waits for itself",)),
        ("planner.chosen", "rules", ("2 of 2 plans were invalid",)),
        ("plan.accepted", "rules", ("rules",)),
        ("route", "smollm2:0", ("least loaded",)),
        ("recovery.chosen", "retry_elsewhere", ("it stalled",)),
        ("route", "smollm2:1", ("least loaded",)),
        ("route", "smollm2:0", ("least loaded",)),
        ("recovery.chosen", "give_up", ("3 of 3 attempts",)),
    ]
    recovery = told.decisions("run-1")[4]
    assert recovery.detail == {"avoid_replica": "smollm2:0"}
    assert (recovery.call_id, recovery.attempt, recovery.seq) == ("index", 1, 10)


def test_syntheses_and_files(told: Reader) -> None:
    (synthesis,) = told.syntheses("run-1")
    assert (synthesis.version, synthesis.kind, synthesis.adopted) == (1, "final", True)
    assert (told.text(synthesis.text_sha256), synthesis.inputs) == (ANSWER, ("index",))
    (file,) = told.files("run-1")
    assert (file.path, file.call_id, file.attempt, file.git_commit) == (
        "index.html",
        "index",
        2,
        "cd" * 20,
    )


def test_totals_over_all_runs(writer: Store, told: Reader) -> None:
    bodies = [submitted(), dispatched("a", queued_at=T0 + 0.5), succeeded("a"), dispatched("b")]
    writer.append(number(bodies, writer.take_epoch(), "run-2"), {})

    totals = told.totals()
    assert totals.runs == {
        "running": 1,
        "cancelling": 0,
        "succeeded": 0,
        "failed": 1,
        "cancelled": 0,
    }
    found = {(row.alias, row.end): row for row in totals.calls}
    assert set(found) == {
        ("grandpa", "wire_malformed"),
        ("naughty", "backend_stalled"),
        ("naughty", "succeeded"),
        ("orchestrator", "succeeded"),
    }
    row = found["naughty", "succeeded"]
    assert (row.attempts, row.queued, row.timed, row.prompt_tokens) == (2, 2, 2, 200)
    assert (row.queue_s, row.call_s) == (11 + 1.5, 8.0)


def _statuses(reader: Reader) -> dict[str, str]:
    return {call.call_id: call.status for call in reader.calls("run-1")}


def test_a_call_is_queued_as_soon_as_what_it_depends_on_is_there(
    writer: Store, reader: Reader
) -> None:
    calls = (
        e.PlannedCall(id="a", alias="naughty", prompt="", output_file="a.html"),
        e.PlannedCall(id="b", alias="naughty", prompt=""),
        e.PlannedCall(id="c", alias="naughty", prompt="", depends_on=("a", "b")),
    )
    published = e.FilePublished(
        call="a", attempt=1, path="a.html", sha256="ab" * 32, size=1, commit="cd" * 20
    )
    steps: list[tuple[e.Body, dict[str, str]]] = [
        (submitted(), {}),
        (
            e.PlanAccepted(turn=1, planner="model", continue_=False, calls=calls),
            {"a": "queued", "b": "queued", "c": "planned"},
        ),
        (dispatched("a"), {"a": "running", "b": "queued", "c": "planned"}),
        (dispatched("b", output_file=None), {"a": "running", "b": "running", "c": "planned"}),
        (succeeded("b"), {"a": "running", "b": "succeeded", "c": "planned"}),
        (failed("a"), {"a": "failed", "b": "succeeded", "c": "planned"}),
        (
            e.RecoveryChosen(call="a", attempt=1, action="retry", reasons=()),
            {"a": "queued", "b": "succeeded", "c": "planned"},
        ),
        (dispatched("a", 2), {"a": "running", "b": "succeeded", "c": "planned"}),
        (succeeded("a", 2), {"a": "succeeded", "b": "succeeded", "c": "planned"}),
        (published, {"a": "published", "b": "succeeded", "c": "queued"}),
        (
            e.RunEnded(outcome="cancelled", reason="a person asked for it"),
            {"a": "published", "b": "succeeded", "c": "cancelled"},
        ),
    ]
    epoch = writer.take_epoch()
    for seq, (body, expected) in enumerate(steps, start=1):
        writer.append([e.Event("run-1", seq, epoch, T0, body)], {})
        assert _statuses(reader) == expected


def test_a_cancelled_run_shows_that_it_is_being_cancelled(writer: Store, reader: Reader) -> None:
    bodies = [submitted(), dispatched("a"), e.RunCancelRequested(reason="too slow")]
    epoch = writer.take_epoch()
    writer.append(number(bodies, epoch), {})
    run = reader.run("run-1")
    assert (run.status, run.outcome, run.cancel_requested_at) == ("cancelling", None, T0 + 3)
    end = e.RunEnded(outcome="cancelled", reason="too slow")
    writer.append(number([end], epoch, first=4), {})
    assert reader.run("run-1").outcome == "cancelled"
    assert [one.status for one in reader.call("run-1", "a").attempts] == ["cancelled"]


def test_runs_are_listed_newest_first_page_by_page(writer: Store, reader: Reader) -> None:
    epoch = writer.take_epoch()
    names = [f"run-{number:02}" for number in range(25)]
    for place, name in enumerate(names):
        # Some are submitted in the same instant.
        writer.append([e.Event(name, 1, epoch, T0 + place // 3, submitted())], {})
    listed: list[str] = []
    page = reader.list_runs(limit=10)
    while page:
        listed.extend(run.run_id for run in page)
        page = reader.list_runs(limit=10, before=listed[-1])
    assert listed == names[::-1]
    assert len(reader.list_runs(limit=5, status="running")) == 5
    assert reader.list_runs(status="failed") == []


def test_events_are_read_from_any_point_on(told: Reader) -> None:
    assert [event.seq for event in told.events("run-1", after=17)] == [18, 19, 20]
    assert [event.seq for event in told.events("run-1", limit=2)] == [1, 2]
    assert told.events("run-1", after=20) == []
    assert told.head("run-1").last_seq == 20


def test_a_text_is_found_by_the_digits_that_the_log_shows(told: Reader) -> None:
    sha256 = ref(PAGE).sha256
    assert told.text(sha256[:12]) == PAGE
    for wrong in (sha256[:7], "0" * 64, "0" * 12, "%" * 12):
        with pytest.raises(NotFound, match="no text"):
            told.text(wrong)


def test_what_is_not_there_is_not_found(told: Reader) -> None:
    questions: list[Callable[[], object]] = [
        lambda: told.run("no-run"),
        lambda: told.calls("no-run"),
        lambda: told.plan("no-run"),
        lambda: told.events("no-run"),
        lambda: told.files("no-run"),
        lambda: told.list_runs(before="no-run"),
        lambda: told.call("run-1", "no-call"),
        lambda: told.session_runs("no-session"),
    ]
    for question in questions:
        with pytest.raises(NotFound, match=r"no-(run|call|session)"):
            question()


def test_a_reader_cannot_write(told: Reader) -> None:
    with pytest.raises(StoreError, match=r"read.?only"), told._snapshot() as connection:
        connection.exec_driver_sql("DELETE FROM events")
    assert told.head("run-1").last_seq == 20


def test_a_reader_sees_one_state_although_the_writer_goes_on(writer: Store, told: Reader) -> None:
    with told._snapshot() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM events").scalar()
        writer.append(number([submitted()], writer.take_epoch(), "run-2"), {})
        assert connection.exec_driver_sql("SELECT count(*) FROM events").scalar() == before
    assert len(told.list_runs()) == 2


def test_calls_of_different_turns_and_kinds_stand_in_order(writer: Store, reader: Reader) -> None:
    planned = tuple(e.PlannedCall(id=name, alias="naughty", prompt="") for name in ("z", "y"))
    bodies: list[e.Body] = [
        submitted(),
        dispatched("sum", kind="synthesis", turn=2),
        dispatched("p2", kind="plan", turn=2),
        dispatched("p1", kind="plan", turn=1),
        e.PlanAccepted(turn=1, planner="model", continue_=True, calls=planned),
    ]
    writer.append(number(bodies, writer.take_epoch()), {})
    calls: list[CallRow] = reader.calls("run-1")
    assert [call.call_id for call in calls] == ["p1", "z", "y", "p2", "sum"]
