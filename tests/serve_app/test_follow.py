"""Following a run: the board, its picture, plain lines, the bars, and streams that are cut."""

from __future__ import annotations

import dataclasses
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from actors.store.rows import AttemptSummary, CallSummary
from familiar.errors import ClusterError, DeploymentEnded, FailureClass, NotFound
from familiar.event import Body, Event, PlanAccepted, PlannedCall, RunSubmitted, text_ref
from familiar.failure import FAILURES
from familiar.service import CallProgress
from serve_app.cli.console import SafeConsole
from serve_app.client import database, http
from serve_app.client.http import HttpService, ServerSentMessage, read_messages
from serve_app.follow.board import Board
from serve_app.follow.call_table import print_calls
from serve_app.follow.follow import Lines
from serve_app.follow.live import draw
from serve_app.follow.report import remedy_of
from serve_app.follow.timeline import bar, print_timeline
from serve_app.models import StreamEnd, StreamProgress
from tests.serve_app.api.bakery import BODIES, GOAL, LAST_SEQ
from tests.serve_app.command import familiar
from tests.serve_app.served import Served

SUBMITTED = RunSubmitted(
    session_id="s-1",
    goal=text_ref(GOAL),
    files=("index.html",),
    workspace="/w/s-1",
    config_hash="5d41402abc4b",
)


def events(*bodies: Body) -> list[Event]:
    return [Event("r-1", seq, 1, 100.0 + seq, body) for seq, body in enumerate(bodies, 1)]


def board_after(*bodies: Body) -> Board:
    board = Board("r-1")
    for event in events(SUBMITTED, *bodies):
        board.apply(event)
    return board


def picture(board: Board, *, height: int = 40, now: float = 120.0, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(draw(board, now=now, height=height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_board_is_the_fold_of_its_events() -> None:
    board = board_after(*BODIES)
    assert board.turns[1].planner == "model"
    assert {name: call.state for name, call in board.calls.items()} == {
        "plan-1": "succeeded",
        "page-index": "published",
        "review": "skipped",
    }
    assert board.files.keys() == {"index.html"}
    assert board.tokens == 440


def test_an_attempt_that_runs_counts_its_progress_until_it_ends() -> None:
    board = board_after(*BODIES[:8])
    seen = CallProgress(
        call="page-index", attempt=2, alias="naughty", replica="smol:1", tokens=57, tokens_per_s=19
    )
    board.apply(StreamProgress(calls=[seen]))
    assert board.tokens == 220 + 57
    late = dataclasses.replace(seen, attempt=1, tokens=999)
    board.apply(StreamProgress(calls=(late,)))
    assert board.tokens == 220 + 57
    board.apply(Event("r-1", 10, 1, 130.0, BODIES[8]))
    assert board.tokens == 440


def test_the_picture_shows_states_dependencies_and_replicas() -> None:
    board = board_after(*BODIES[:8])
    board.apply(
        StreamProgress(
            calls=[
                CallProgress(
                    call="page-index",
                    attempt=2,
                    alias="naughty",
                    replica="smol:1",
                    tokens=57,
                    tokens_per_s=19,
                )
            ]
        )
    )
    shown = picture(board)
    for said in (
        "turn 1, planned by the model",
        "0/1 files",
        "after page-index",
        "smol:0: 0 running",
        "smol:1: 1 running, 19.0 tok/s",
    ):
        assert said in shown


def test_a_narrow_screen_cuts_the_notes_and_no_figure() -> None:
    names = ("contract", "services", "doctors", "info", "visit", "access", "readme")
    calls = tuple(
        PlannedCall(id=name, alias="orchestrator", prompt="p", depends_on=names[:at])
        for at, name in enumerate(names)
    )
    board = board_after(PlanAccepted(turn=1, planner="rules", continue_=False, calls=calls))
    running = board.calls["contract"]
    running.state, running.replica, running.dispatched_at = "running", "smollm2:0", 100.0
    seen = CallProgress(
        call="contract", attempt=1, alias="a", replica="smollm2:0", tokens=1234, tokens_per_s=56.7
    )
    running.attempt = 1
    board.apply(StreamProgress(calls=[seen]))
    shown = picture(board, width=80)
    for said in ("contract", "orchestrator", "smollm2:0", "20.0s", "1234", "56.7", "tok/s"):
        assert said in shown
    assert "after contrac…" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_small_screen_keeps_what_runs() -> None:
    calls = tuple(PlannedCall(id=f"c{n}", alias="a", prompt="p") for n in range(30))
    board = board_after(PlanAccepted(turn=1, planner="rules", continue_=False, calls=calls))
    for call in list(board.calls.values())[:29]:
        call.state = "succeeded"
    board.calls["c29"].state = "running"
    board.calls["c29"].replica = "p:0"
    shown = picture(board, height=14)
    assert "c29" in shown
    assert "and 25 more" in shown
    assert len(shown.splitlines()) <= 14


@given(st.permutations(range(6)), st.data())
def test_depth_is_the_longest_way_and_never_loops(order: list[int], data: st.DataObject) -> None:
    edges = {
        n: data.draw(st.sets(st.sampled_from(order), max_size=3), label=f"before {n}")
        for n in range(6)
    }
    calls = tuple(
        PlannedCall(id=f"c{n}", alias="a", prompt="p", depends_on=tuple(f"c{m}" for m in edges[n]))
        for n in order
    )
    board = board_after(PlanAccepted(turn=1, planner="model", continue_=False, calls=calls))
    acyclic = all(m < n for n, before in edges.items() for m in before)
    for n, before in edges.items():
        depth = board.calls[f"c{n}"].depth
        assert 0 <= depth < 6
        if acyclic:
            depths = [board.calls[f"c{m}"].depth for m in before]
            assert depth == 1 + max(depths, default=-1)


def test_lines_tell_every_event_a_person_wants_once() -> None:
    told: list[str] = []
    clock = [0.0]
    lines = Lines(told.append, lambda: clock[0])
    board = Board("r-1")
    for event in events(SUBMITTED, *BODIES):
        board.apply(event)
        lines.show(event, board)
    assert len(told) == len(BODIES) + 1
    assert any("page-index failed, backend_stalled: No token for 60 s." in line for line in told)
    assert told[-1].endswith("run succeeded: Every file that the goal named is there.")


def test_progress_becomes_a_line_only_now_and_then() -> None:
    told: list[str] = []
    clock = [0.0]
    lines = Lines(told.append, lambda: clock[0])
    board = board_after(*BODIES[:8])
    for clock[0] in (1.0, 9.0, 10.0, 11.0, 20.0):
        lines.show(StreamProgress(calls=[]), board)
    assert len(told) == 2


def attempted(call_id: str, ended: float) -> CallSummary:
    """A call that ended at its first attempt; the other fields are empty."""
    known: dict[str, Any] = {
        **dict.fromkeys(field.name for field in dataclasses.fields(AttemptSummary)),
        "attempt": 1,
        "status": "succeeded",
        "replica": "orchestrator:0",
        "devices": (),
        "queued_at": 0.0,
        "started_at": 1.0,
        "first_token_at": 2.0,
        "ended_at": ended,
        "output_tokens": 4321,
        "repairs": (),
    }
    call: dict[str, Any] = {
        **dict.fromkeys(field.name for field in dataclasses.fields(CallSummary)),
        "call_id": call_id,
        "status": "succeeded",
        "skipped_because": (),
        "attempts": (AttemptSummary(**known),),
    }
    return CallSummary(**call)


@pytest.mark.parametrize("width", [20, 80, 100, 160])
def test_no_time_is_cut_at_any_width_and_bars_stand_where_there_is_room(width: int) -> None:
    calls = [attempted("write-the-introduction", 12345.67), attempted("b", 23456.78)]
    for show in (print_timeline, print_calls):
        told = io.StringIO()
        show(calls, SafeConsole(file=told, width=width, color_system=None), 0.0)
        shown = told.getvalue()
        assert "…" not in shown
        assert "write-the-introduction" in shown
        if show is print_timeline:
            assert "12345.67" in shown
            assert "23456.78" in shown
            assert ("█" in shown.replace("█ writing", "")) is (width > 100)


times = st.floats(0, 1000, allow_nan=False)


@given(st.lists(times, min_size=4, max_size=4).map(sorted), st.floats(0.001, 10), st.booleans())
def test_a_bar_never_leaves_its_axis(moments: list[float], scale: float, fails: bool) -> None:
    queued, started, first, ended = moments
    drawn = bar((queued, started, first, ended), scale, fails=fails)
    assert len(drawn) == round(ended * scale) + 1
    assert drawn[-1] == ("✗" if fails else "█")
    assert set(drawn) <= set(" ·░█✗")
    assert list(drawn[:-1]) == sorted(drawn[:-1], key=" ·░█".index)


def test_every_failure_class_has_something_to_do() -> None:
    assert set(FAILURES) == set(FailureClass)
    assert "familiar run --session s-1" in remedy_of("files_missing", run="r-1", session="s-1")
    assert remedy_of("of-a-later-version", run="r-1", session="s-1") == ""


@given(st.lists(st.tuples(st.integers(1, 99), st.text(st.sampled_from("ab: {}"), min_size=1))))
def test_messages_survive_heartbeats_and_a_cut_end(sent: list[tuple[int, str]]) -> None:
    lines: list[str] = []
    for number, data in sent:
        lines += [": ping", "", f"id: {number}", f"data: {data}", ""]
    lines += ["id: 100", "data: cut off"]
    expected = [ServerSentMessage(data=data) for _, data in sent]
    assert list(read_messages(lines)) == expected


@contextmanager
def cutting_proxy(port: int, after_bytes: int) -> Iterator[int]:
    """Passes connections on and cuts each after so many bytes of the answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pump() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, socket.create_connection(("127.0.0.1", port)) as server:
                        server.sendall(client.recv(65536))
                        left = after_bytes
                        while left > 0 and (data := server.recv(min(left, 512))):
                            client.sendall(data)
                            left -= len(data)

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("after_bytes", [1200, 2500, 6000])
def test_a_stream_that_is_cut_again_and_again_has_no_gap_and_no_double(
    service: Served, after_bytes: int
) -> None:
    run_id = service.bake()
    port = int(service.url.rpartition(":")[2])
    with cutting_proxy(port, after_bytes) as through:
        messages = list(HttpService(f"http://127.0.0.1:{through}").stream(run_id))
    assert [m.seq for m in messages if isinstance(m, Event)] == list(range(1, LAST_SEQ + 1))
    assert isinstance(messages[-1], StreamEnd)


def test_nobody_answering_for_long_is_an_error_that_says_the_run_goes_on() -> None:
    service = HttpService("http://127.0.0.1:1", patience_s=0.3)
    with pytest.raises(ClusterError, match="was still open"):
        list(service.stream("r-1"))


def test_a_follower_is_told_within_seconds_that_the_deployment_has_ended(
    service: Served, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the API's `error`, by a port on which nothing listens, and by a database without owner."""
    run_id = service.bake(3)
    monkeypatch.setattr(database, "GONE_S", 0.5)
    from_database = familiar("show", run_id, "--follow", "--config", str(config_file))
    assert from_database.code == 4
    assert f"No deployment works on run {run_id}" in from_database.err

    async def taken_down(*_: object) -> int:
        raise DeploymentEnded("There is no orchestrator.")

    monkeypatch.setattr(service.backend, "wait_beyond", taken_down)
    by_error = familiar("show", run_id, "--follow", "--url", service.url)
    assert by_error.code == 4
    assert f"The deployment has ended, and run {run_id} is still open." in by_error.err
    monkeypatch.setattr(http, "REFUSED_S", 0.5)
    with pytest.raises(DeploymentEnded, match="Nothing listens"):
        list(HttpService("http://127.0.0.1:1").stream(run_id))


def test_an_unknown_run_is_not_waited_for(service: Served) -> None:
    with pytest.raises(NotFound):
        list(HttpService(service.url).stream("r-nowhere"))
