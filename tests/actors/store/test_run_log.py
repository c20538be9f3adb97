"""Lines of `orchestra.log`: one for each event, for a person to read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.store.run_log import LogLines
from familiar import event as e
from tests.actors.store.histories import GOAL, T0, bodies, number, ref, story


def test_the_story_as_a_person_reads_it() -> None:
    lines = LogLines()
    text = [lines.render(event) for event in number(story(), epoch=1)]

    goal = ref(GOAL).sha256[:12]
    assert text[0] == (
        "2023-11-14T22:13:21.000Z run-1 #1 run submitted session=session-1 "
        f'goal={goal} files="index.html, about.html" workspace=/w/session-1'
    )
    assert 'plan rejected problems="a waits for itself"' in text[4]
    assert "planner chosen: rules" in text[5]
    assert "plan accepted from rules: 3 calls and ends" in text[6]
    assert "turn=1 call=index/1 role=naughty worker call dispatched to replica=smollm2:0" in text[7]
    assert (
        "turn=1 call=index/1 role=naughty worker call failed class=backend_stalled duration_ms=4000"
        in text[8]
    )
    assert "No token for 60 s. The last was <p>" in text[8]
    assert "recovery chosen: retry_elsewhere" in text[9]
    assert "duration_ms=4000 first_token_ms=1000 tokens=100+40" in text[12]
    assert "file published path=index.html bytes=14" in text[13]
    assert text[-1].endswith(
        'run failed reason="about.html is missing" class=files_missing duration_ms=19000'
    )


def test_every_text_can_be_reached_from_its_line() -> None:
    lines = LogLines()
    for event in number(story(), epoch=1):
        line = lines.render(event)
        for name in ("goal", "prompt", "raw", "text"):
            reference = getattr(event.body, name, None)
            if isinstance(reference, e.TextRef):
                assert f"{name}={reference.sha256[:12]}" in line


def test_turn_and_role_are_looked_up_when_the_dispatch_was_before() -> None:
    asked: list[tuple[str, str]] = []

    def lookup(run_id: str, call_id: str) -> tuple[int, str]:
        asked.append((run_id, call_id))
        return 3, "grandpa"

    lines = LogLines(lookup)
    events = number(story(), epoch=1)
    assert "turn=3 call=index/2 role=grandpa" in lines.render(events[12])
    assert "turn=3 call=index/2 role=grandpa" in lines.render(events[13])
    assert asked == [("run-1", "index")]


@given(bodies(), st.text())
def test_an_event_is_always_one_line(body: e.Body, reason: str) -> None:
    lines = LogLines()
    for event in (
        e.Event("run-1", 1, 1, T0, body),
        e.Event("run-1", 2, 1, T0, e.RunCancelRequested.model_construct(reason=reason)),
    ):
        line = lines.render(event)
        assert line.splitlines() == [line]
        assert line.startswith("2023-11-14T22:13:20.000Z run-1 #")


def test_long_reasons_are_cut() -> None:
    body = e.RunEnded(outcome="failed", reason="because " * 1000)
    line = LogLines().render(e.Event("run-1", 1, 1, T0, body))
    assert len(line) < 500
    assert "…" in line
