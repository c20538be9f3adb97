"""The messages of a plan's stack: said once where it happened, and what moves only at the end."""

from __future__ import annotations

from dataclasses import replace

from familiar.context.artifact import ArtifactRef
from familiar.event import Problem, text_ref
from familiar.plan.view import EarlierCall, PoolLoad
from familiar.prompts import planning
from tests.familiar.plan.views import view

LOAD = PoolLoad(rates={"naughty": 19.27}, running={"naughty": 1}, waiting={"naughty": 3})
PAGE = "<title>Clinic</title><h1>Welcome</h1>" + "<p>words</p>" * 200
DONE = EarlierCall("home", "naughty", "done", "index.html")
FAILED = EarlierCall("about", "naughty", "failed", "about.html", "it ran out of time")
ANSWER = EarlierCall("check", "grandpa", "done", None)


def page() -> ArtifactRef:
    return ArtifactRef.of("index.html", text_ref(PAGE), PAGE, "home")


def test_the_turns_message_tells_what_is_missing_and_how_busy_the_roles_are() -> None:
    text = planning.turn_message(replace(view(turn=2), load=LOAD), tells_load=True).text
    assert "index.html, about.html, README.md" in text
    assert "naughty 1 of 2 busy, 3 waiting, 19.3 tokens/s a call" in text
    assert "grandpa 0 of 2 busy, 0 waiting, not measured yet" in text
    assert text.endswith("Plan turn 2.")


def test_the_form_of_the_answer_stands_at_the_very_end() -> None:
    text = planning.turn_message(view(), tells_load=False, wire="<familiar-12ab34>").text
    assert "busy" not in text
    assert text.endswith("Plan turn 1.\n<familiar-12ab34>")


def test_a_file_is_told_by_reference() -> None:
    message = planning.results_message(1, [planning.Result(DONE, page())], "r")
    assert f"sha256 {text_ref(PAGE).sha256[:12]}, {len(PAGE):,} bytes" in message.text
    assert "h1 Welcome" in message.text
    assert "<p>words</p>" not in message.text
    assert [fact.key for fact in message.facts] == ["file:index.html"]


def test_failures_and_answers_are_told_in_words() -> None:
    results = [planning.Result(FAILED), planning.Result(ANSWER, answer="It is good.\n" * 200)]
    message = planning.results_message(1, results, "r")
    assert "about (naughty) failed, about.html: it ran out of time" in message.text
    assert "check (grandpa) answered: It is good." in message.text
    assert len(message.text) < 1_000
    assert [fact.key for fact in message.facts] == ["call:r:about", "call:r:check"]


def test_a_rejection_says_every_problem() -> None:
    problems = [Problem(code="a", message="First."), Problem(code="b", message="Second.")]
    text = planning.rejected_message(problems).text
    assert "- First." in text
    assert "- Second." in text


def test_questions_of_a_worker_stay_open() -> None:
    answer = "Good.\n- Which colour?\nWhich year? I do not know.\n**Whose logo?**\n?\nA?\nB?\nC?"
    asked = [message.text for message in planning.question_messages(ANSWER, answer)]
    assert [text.split(": ", 1)[1] for text in asked] == ["Which colour?", "Whose logo?", "A?"]
