"""`ls`, `show`, `log`, `calls`, `pools`, `cancel`: the same words from a service and a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.store.store import Store
from familiar.engine import EngineStats
from familiar.event import RunEnded, text_ref
from familiar.service import PoolView, ReplicaView
from tests.serve_app.api.bakery import ANSWER, BODIES, LAST_SEQ, PAGE, RAW
from tests.serve_app.command import familiar
from tests.serve_app.served import Served


@pytest.fixture(params=["service", "database"])
def source(request: pytest.FixtureRequest, service: Served, config_file: Path) -> tuple[str, str]:
    """The options that name where to read: nothing answers at the configuration's own port."""
    if request.param == "service":
        return ("--url", service.url)
    return ("--config", str(config_file))


def test_runs_are_listed_newest_first(service: Served, source: tuple[str, str]) -> None:
    first, second = service.bake(), service.bake(3)
    shown = familiar("ls", *source)
    assert shown.code == 0
    assert shown.out.index(second) < shown.out.index(first)
    assert "succeeded" in shown.out
    only = familiar("ls", "--status", "running", "--json", *source).document
    assert [run["run_id"] for run in only["runs"]] == [second]


def test_without_runs_that_is_what_is_said(service: Served, source: tuple[str, str]) -> None:
    assert familiar("ls", *source).out == "There are no runs.\n"
    last = familiar("show", "@last", *source)
    assert last.code == 2
    assert "There are no runs" in last.err


def test_show_tells_the_whole_run(service: Served, source: tuple[str, str]) -> None:
    run_id = service.bake()
    shown = familiar("show", run_id, *source)
    assert shown.code == 0
    for said in (
        "succeeded after",
        ANSWER,
        "index.html",
        "turn 1: the model, 2 worker call(s)",
        "1: final, turn 1, by model, not adopted: it names files that are not there",
        "2: final, turn 1, by rules, adopted",
        "page-index/2",
        "smol:1",
        f"log {run_id} {' '.join(source)}",
    ):
        assert said in shown.out
    document = familiar("show", run_id, "--json", *source).document
    assert document["run"]["status"] == "succeeded"
    assert [artifact["path"] for artifact in document["artifacts"]] == ["index.html"]
    assert document["missing"] == []


def test_log_has_a_line_an_event_and_events_as_json(
    service: Served, source: tuple[str, str]
) -> None:
    run_id = service.bake()
    lines = familiar("log", run_id, *source).out.splitlines()
    assert len(lines) == LAST_SEQ
    assert "role=naughty" in lines[5]
    events = familiar("log", run_id, "--json", *source).lines
    assert [event["seq"] for event in events] == list(range(1, LAST_SEQ + 1))
    assert events[-1]["type"] == "run.ended"


def test_log_of_an_open_run_ends_where_the_run_stands(
    service: Served, source: tuple[str, str]
) -> None:
    run_id = service.bake(upto=4)
    assert len(familiar("log", run_id, *source).out.splitlines()) == 5


def test_calls_have_their_times_and_their_failure(service: Served, source: tuple[str, str]) -> None:
    run_id = service.bake()
    shown = familiar("calls", run_id, *source).out
    for said in ("queued", "started", "1st token", "ended", "backend_stalled", "core:0"):
        assert said in shown
    document = familiar("calls", run_id, "--json", *source).document
    attempts = {call["call_id"]: call["attempts"] for call in document["calls"]}
    assert [attempt["failure_class"] for attempt in attempts["page-index"]] == [
        "backend_stalled",
        None,
    ]
    assert attempts["review"] == []


def test_explain_names_the_cause_first_with_its_events(
    service: Served, source: tuple[str, str]
) -> None:
    run_id = service.bake()
    shown = familiar("explain", run_id, *source)
    assert shown.code == 0
    assert shown.out.startswith("backend_stalled")
    assert "page-index/1" in shown.out
    document = familiar("explain", run_id, "--json", *source).document
    assert document["outcome"] == "succeeded"
    assert document["causes"][0]["cause"] == "backend_stalled"
    assert [7] in [evidence["events"][-1:] for evidence in document["causes"][0]["evidence"]]
    assert familiar("explain", "nosuchrun", *source).code == 2


def test_diff_shows_only_what_differs(service: Served, source: tuple[str, str]) -> None:
    first, second = service.bake(), service.bake(upto=4)
    shown = familiar("diff", first, second, *source)
    assert shown.code == 0
    assert "syntheses" in shown.out
    document = familiar("diff", first, second, "--json", *source).document
    rows = {(row["section"], row["name"]): (row["a"], row["b"]) for row in document["differences"]}
    assert rows["outcome", "outcome"] == ("succeeded", "running")
    assert "plan" in document["same"]
    same = familiar("diff", first, first, *source)
    assert same.out.startswith("The two runs do not differ")


def test_one_call_has_all_its_texts(service: Served, source: tuple[str, str]) -> None:
    run_id = service.bake()
    shown = familiar("calls", run_id, "page-index", *source)
    assert RAW in shown.out
    assert PAGE in shown.out
    assert text_ref("<!doc").sha256 in shown.out
    unknown = familiar("calls", run_id, "page-nowhere", *source)
    assert unknown.code == 2
    assert "page-nowhere" in unknown.err


def test_a_run_may_be_abbreviated(service: Served, source: tuple[str, str]) -> None:
    first, second = service.bake(), service.bake(3)
    assert familiar("show", "@last", "--json", *source).document["run"]["run_id"] == second
    listed = familiar("ls", "--json", "--limit", "100", *source).document["runs"]
    others = [run["run_id"] for run in listed if run["run_id"] != first]
    short = next(
        first[:n]
        for n in range(3, len(first) + 1)
        # Without the "r-" in front it must not be the beginning of every id.
        if not any(other.startswith(first[:n]) for other in others) and first[2:n] != "r"
    )
    for name in (short, short.removeprefix("r-"), first):
        assert familiar("show", name, "--json", *source).document["run"]["run_id"] == first
    both = familiar("show", "r-", *source)
    assert both.code == 2
    assert first in both.err
    assert second in both.err
    nobody = familiar("show", "zzzz", "--json", *source)
    assert nobody.code == 2
    assert nobody.document["error"]["type"] == "NotFound"


def test_follow_shows_what_is_still_to_come(service: Served, source: tuple[str, str]) -> None:
    since = len(BODIES) - 3
    run_id = service.bake(since)
    service.loop.call_later(
        0.5, lambda: service.loop.create_task(service.backend.record(run_id, *BODIES[since:]))
    )
    shown = familiar("show", run_id, "--follow", "--json", *source)
    assert shown.code == 0
    events = [line["seq"] for line in shown.lines if line["kind"] == "event"]
    assert events == list(range(1, LAST_SEQ + 1))
    assert shown.lines[-1] == {
        "kind": "end",
        "run_id": run_id,
        "seq": LAST_SEQ,
        "outcome": "succeeded",
        "reason": "Every file that the goal named is there.",
        "failure_class": None,
    }


def test_pools_and_cancel_need_a_service(service: Served, config_file: Path) -> None:
    run_id = service.bake(3)
    assert "pool smol: scripted script" in familiar("pools", "--url", service.url).out
    cancelled = familiar("cancel", run_id, "--reason", "enough", "--url", service.url, "--json")
    assert cancelled.document == {"run_id": run_id, "status": "cancelled"}
    for words in (("pools",), ("cancel", run_id)):
        alone = familiar(*words, "--config", str(config_file))
        assert alone.code == 4
        assert "familiar serve" in alone.err


def test_a_configuration_whose_api_answers_is_read_over_it(
    service: Served, config_file: Path
) -> None:
    run_id = service.bake(3)
    port = service.url.rpartition(":")[2]
    options = ("--config", str(config_file), "--set", f"api.port={port}")
    assert familiar("cancel", run_id, *options).code == 0
    # A changed configuration is the same deployment still, and the person is told.
    changed = familiar("pools", *options, "--set", "pools.smol.model=other")
    assert changed.code == 0
    assert "another configuration" in changed.err


def test_a_service_of_another_database_is_not_this_deployment(
    service: Served, config_file: Path, tmp_path: Path
) -> None:
    service.bake(3)
    port = service.url.rpartition(":")[2]
    Store.open(f"sqlite:///{tmp_path}/other.db", create=True).close()
    other = (
        *("--config", str(config_file), "--set", f"api.port={port}"),
        *("--set", f"store.url=sqlite:///{tmp_path}/other.db"),
    )
    assert familiar("pools", *other).code == 4
    assert familiar("ls", "--json", *other).document["runs"] == []


def test_nobody_there_is_its_own_exit_code(tmp_path: Path) -> None:
    nobody = familiar("ls", "--url", "http://127.0.0.1:1")
    assert nobody.code == 4
    assert "No familiar service answers at http://127.0.0.1:1: nothing listens." in nobody.err
    for url in ("not a url", "http://", "http://127.0.0.1:99999", "http://127.0.0.1:0"):
        assert familiar("ls", "--url", url).code == 2, url
    assert (
        "nothing listens" in familiar("ls", "--url", "http://127.0.0.1:1", env={"COLUMNS": "0"}).err
    )


@pytest.mark.parametrize("columns", ["20", "60", "80", "120", "160", "300"])
def test_ids_and_statuses_stay_whole_at_any_width(
    service: Served, source: tuple[str, str], columns: str
) -> None:
    run_id = service.submit()
    reason = "the budget " * 60
    service.do(service.backend.record(run_id, RunEnded(outcome="failed", reason=reason)))
    shown = familiar("ls", *source, env={"COLUMNS": columns}).out
    assert run_id in shown.replace("\n", "")
    assert "failed" in shown
    if columns in ("160", "300"):
        assert "the budget" in shown


def test_a_models_words_cannot_steer_the_terminal(service: Served, source: tuple[str, str]) -> None:
    run_id = service.submit("Write `a.md`. \x1b]0;goal\x07\u202e")
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b1m\u202e[link=http://evil]x[/link]\r"
    service.do(service.backend.record(run_id, RunEnded(outcome="failed", reason=hostile)))
    for words in (("show",), ("log",), ("explain",), ("show", "--follow"), ("show", "--json")):
        shown = familiar(words[0], run_id, *words[1:], *source)
        assert not set(shown.out + shown.err) & set("\x1b\x07\x9b\u202e\r"), words
    listed = familiar("ls", *source)
    assert not set(listed.out) & set("\x1b\x07\x9b\u202e\r")
    document = familiar("show", run_id, "--json", *source).document
    assert document["run"]["reason"] == hostile


def test_a_narrow_terminal_cuts_no_state_no_reason_and_no_hint(service: Served) -> None:
    why = "The engine did not start: no module named vllm. Next attempt in 8 s."
    replica = ReplicaView(
        "smol:1", "smol", "backing_off", why, ("core 1",), "node-1", 4, 0, EngineStats()
    )
    service.backend.views = (PoolView("smol", "vllm", "m", ("naughty",), 0, (replica,)),)
    pools = familiar("pools", "--url", service.url, env={"COLUMNS": "60"})
    assert "backing_off" in pools.out
    assert f"smol:1: {why}" in pools.out
    submitted = familiar("run", "Say hello.", "--url", service.url, env={"COLUMNS": "60"})
    assert f"--follow --url {service.url}\n" in submitted.out
