"""`familiar run` at a running service: what is sent, what is shown, how it ends."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from familiar.call import Failure
from familiar.config.schema import Config
from familiar.errors import FailureClass
from familiar.event import Body, CallFailed, RunEnded
from familiar.failure import FAILURES
from tests.serve_app.api.bakery import BODIES, GOAL, LAST_SEQ
from tests.serve_app.command import Ended, familiar
from tests.serve_app.served import Served, served

FAILED: tuple[Body, ...] = (
    *BODIES[:5],
    CallFailed(
        call="page-index",
        attempt=1,
        kind="worker",
        failure=Failure(
            failure_class=FailureClass.CALL_OVERSIZED, message="300 s were not enough."
        ),
    ),
    RunEnded(
        outcome="failed",
        reason="index.html was not made.",
        failure_class=FailureClass.FILES_MISSING,
    ),
)


def run_to(service: Served, bodies: Sequence[Body], *words: str) -> Ended:
    """`familiar run` while `bodies` happen to whatever run it submits."""

    def happen() -> None:
        while not (runs := service.backend.reader.list_runs()):
            time.sleep(0.02)
        service.do(service.backend.record(runs[0].run_id, *bodies))

    thread = threading.Thread(target=happen)
    thread.start()
    try:
        return familiar("run", GOAL, "--url", service.url, *words)
    finally:
        thread.join(30)


def test_without_follow_it_ends_once_the_run_is_recorded(service: Served) -> None:
    accepted = familiar("run", GOAL, "--url", service.url, "--json")
    assert accepted.code == 0
    run_id = accepted.document["run_id"]
    assert service.backend.reader.run(run_id).status == "running"
    shown = familiar("run", GOAL, "--url", service.url).out
    assert "show r-" in shown
    assert shown.strip().endswith(f"--follow --url {service.url}")


def test_the_same_key_is_the_same_run(service: Served) -> None:
    words = ("run", GOAL, "--url", service.url, "--json", "--idempotency-key", "bakery-1")
    first, second = familiar(*words).document, familiar(*words).document
    assert first["run_id"] == second["run_id"]
    assert (first["created"], second["created"]) == (True, False)


def test_a_run_that_succeeds_is_shown_to_its_end(service: Served) -> None:
    ended = run_to(service, BODIES, "--follow")
    assert ended.code == 0
    for said in ("plan by model: page-index, review after page-index", "index.html is there"):
        assert said in ended.out
    assert "succeeded after" in ended.out


def test_a_run_that_fails_says_why_and_what_to_do(service: Served) -> None:
    ended = run_to(service, FAILED, "--follow")
    assert ended.code == 1
    assert "page-index failed, call_oversized: 300 s were not enough." in ended.out
    assert f"What to do: {FAILURES[FailureClass.CALL_OVERSIZED].advice[:40]}" in ended.out
    assert "index.html missing" in " ".join(ended.out.split())


def test_a_run_that_is_cancelled_has_its_own_exit_code(service: Served) -> None:
    bodies = (*BODIES[:3], RunEnded(outcome="cancelled", reason="enough"))
    assert run_to(service, bodies, "--follow").code == 3


def test_followed_as_json_it_is_lines_and_nothing_else(service: Served) -> None:
    lines = run_to(service, BODIES, "--follow", "--json").lines
    assert lines[0]["kind"] == "accepted"
    assert lines[-1]["kind"] == "end"
    assert [line["seq"] for line in lines if line["kind"] == "event"] == list(
        range(1, LAST_SEQ + 1)
    )


def test_a_goal_comes_from_a_file_or_from_stdin(service: Served, tmp_path: Path) -> None:
    goal = tmp_path / "goal.md"
    goal.write_text("\ufeff" + GOAL, encoding="utf-8")
    for words, stdin in ((("-f", str(goal)), ""), (("-f", "-"), GOAL)):
        run_id = familiar("run", *words, "--url", service.url, "--json", stdin=stdin).document[
            "run_id"
        ]
        row = service.backend.reader.run(run_id)
        assert row.goal_sha256 == hashlib.sha256(GOAL.encode()).hexdigest()
        assert row.files_wanted == ("index.html",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "either as an argument or with -f FILE"),
        (("a goal", "-f", "goal.md"), "either as an argument or with -f FILE"),
        (("  ",), "The goal is empty."),
        (("-f", "nowhere.md"), "nowhere.md cannot be read"),
        (("goal", "--session", "s-nowhere"), "s-nowhere"),
    ],
)
def test_what_cannot_be_a_goal_is_rejected_in_words(
    service: Served, words: tuple[str, ...], said: str
) -> None:
    refused = familiar("run", *words, "--url", service.url)
    assert refused.code == 2
    assert said in refused.err
    assert service.backend.reader.list_runs() == []


def test_ten_megabytes_are_rejected_and_change_nothing(service: Served, tmp_path: Path) -> None:
    goal = tmp_path / "goal.md"
    goal.write_text("x" * 10_000_000)
    refused = familiar("run", "-f", str(goal), "--url", service.url)
    assert refused.code == 2
    assert "api.max_goal_bytes" in refused.err
    assert service.backend.reader.list_runs() == []


def test_bytes_that_are_no_text_are_rejected(service: Served, tmp_path: Path) -> None:
    goal = tmp_path / "goal.bin"
    goal.write_bytes(b"Make \xff")
    refused = familiar("run", "-f", str(goal), "--url", service.url, "--json")
    assert refused.code == 2
    assert "byte 5" in refused.document["error"]["message"]


def test_a_key_is_asked_for_and_taken_from_the_environment(config: Config) -> None:
    with served(config, (hashlib.sha256(b"sesame-open-sesame").hexdigest(),)) as service:
        refused = familiar("run", GOAL, "--url", service.url)
        assert refused.code == 2
        assert "FAMILIAR_KEY" in refused.err
        taken = familiar(
            "run", GOAL, "--url", service.url, env={"FAMILIAR_KEY": "sesame-open-sesame"}
        )
        assert taken.code == 0
        from_environment = {"FAMILIAR_KEY": "sesame-open-sesame", "FAMILIAR_URL": service.url}
        assert familiar("ls", env=from_environment).code == 0


def test_alone_it_rejects_before_it_starts_anything(config_file: Path) -> None:
    options = ("--config", str(config_file), "--json")
    assert familiar("run", " ", *options).document["error"]["field"] == "goal"
    unknown = familiar("run", "goal", "--session", "s-nowhere", *options)
    assert (unknown.code, unknown.document["error"]["field"]) == (2, "--session")
    cores = familiar("run", "goal", "--set", "pools.smol.replicas=[{cores: [4096]}]", *options)
    assert cores.code == 4
    assert "4096" in cores.document["error"]["message"]
    typo = familiar("run", "goal", "--set", "budgets.turn=3", *options)
    assert typo.code == 2
    assert "did you mean turns?" in typo.document["error"]["message"]


ODD = "Make `My page.html`, `../up.html` and `notes.md`."


def test_it_is_told_which_file_each_name_in_the_goal_was_taken_for(service: Served) -> None:
    accepted = familiar("run", ODD, "--url", service.url, "--json").document
    assert accepted["files"] == ["My page.html", "notes.md"]
    taken = {name["written"]: name["path"] for name in accepted["taken"]}
    assert taken["notes.md"] == "notes.md"
    shown = familiar("run", ODD, "--url", service.url)
    assert "files:  My page.html, notes.md" in shown.out
    none = familiar("run", "Say hello.", "--url", service.url)
    assert "files:  the goal names none" in none.out


def test_a_name_that_was_not_taken_as_written_is_told_at_submit_and_in_show(
    service: Served,
) -> None:
    goal = "Make `a/.git/b.html` and `Cafe\u0301.html`."
    shown = familiar("run", goal, "--url", service.url)
    for said in (shown.err, familiar("show", "@last", "--url", service.url).out):
        assert "'a/.git/b.html' in the goal was not taken for a file" in said
        assert "was taken for the file Caf\u00e9.html" in said
