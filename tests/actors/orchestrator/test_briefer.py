"""What models are told over a whole run: one stack that only grows, artifacts by reference."""

from __future__ import annotations

import asyncio
import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.in_process import InProcessRun, Sent, session_stack
from familiar import event as ev
from familiar.brief import Brief
from familiar.config.schema import Config
from familiar.context.stack import read_stack, render_bytes
from familiar.context.tokens import prompt_tokens
from familiar.engine import Message
from familiar.errors import FailureClass
from familiar.plan.view import PoolLoad
from familiar.run.state import CallState, FollowUp

GOAL = "Make a site: `index.html`, `about.html` and `README.md`."
PAGE = "<title>{0}</title><h1>{0}</h1>" + "<p>Some words for visitors.</p>" * 40


def config(**changes: Any) -> Config:
    orchestrator = {"pool": "p", "sampling": {"max_tokens": 500}, **changes.pop("plans", {})}
    values: dict[str, Any] = {
        "pools": {
            "p": {
                "engine": "scripted",
                "model": "m",
                "replicas": [{}],
                "context_length": 32_000,
            }
        },
        "aliases": {
            "orchestrator": orchestrator,
            "naughty": {"pool": "p", "mode": "output_file", "description": "writes files"},
            "grandpa": {"pool": "p", "description": "reviews"},
        },
        "orchestrator": {"reviewer": "grandpa", "plan_tries": 2},
        "api": {"auth": "none"},
    }
    return Config.model_validate(values | changes)


def node(name: str, file: str | None = None, **more: Any) -> dict[str, Any]:
    planned = {"id": name, "alias": "naughty" if file else "grandpa", "prompt": f"Do {name} well."}
    return planned | {"depends_on": []} | ({"output_file": file} if file else {}) | more


def plan(*calls: dict[str, Any], more: bool = True) -> str:
    return json.dumps({"continue": more, "worker_calls": calls})


PLANS = {
    1: plan(node("home", "index.html")),
    2: plan(
        node("about", "about.html", depends_on=["home"]),
        node("check", depends_on=["home", "about"], needs=["about.html"]),
    ),
    3: plan(node("readme", "README.md", depends_on=["check"]), more=False),
}


def script(call: CallState, brief: Brief) -> str:
    if call.kind == "plan":
        return PLANS[call.turn]
    if call.kind == "synthesis":
        return "The site is there."
    if call.planned.output_file is None:
        return "All is well.\nWhich colour should the links have?"
    return PAGE.format(call.planned.output_file)


def run(settings: Config | None = None, **more: Any) -> InProcessRun:
    made = InProcessRun(settings or config(), GOAL, more.pop("script", script), **more)
    assert made.run().outcome == "succeeded"
    return made


def prompts(made: InProcessRun, kind: str) -> list[Sent]:
    return [sent for sent in made.sent if sent.kind == kind]


def content(sent: Sent) -> str:
    return "\n".join(message.content for message in sent.brief.messages)


def worker(made: InProcessRun, name: str) -> str:
    return content(next(sent for sent in made.sent if sent.call == name))


def test_each_plan_prompt_is_a_prefix_of_the_next() -> None:
    asked = [render_bytes(sent.brief.messages) for sent in prompts(run(), "plan")]
    assert len(asked) == 3
    for earlier, later in pairwise(asked):
        assert later.startswith(earlier)
        assert later != earlier


def sides(sent: Sent) -> list[str]:
    return [message.role for message in sent.brief.messages]


def test_the_two_sides_of_the_chat_take_turns_whatever_happens() -> None:
    dice = random.Random(7)

    def unsteady(call: CallState, brief: Brief) -> str | FailureClass:
        if call.kind != "plan" or dice.random() < 0.5:
            return many_turns(call, brief)
        return dice.choice(["no plan", FailureClass.BACKEND_UNREACHABLE])

    window = {"window_tokens": 1_500}
    for number in range(20):
        made = InProcessRun(config(plans=window), GOAL, unsteady, run_id=f"r-{number}")
        made.run()
        for sent in prompts(made, "plan"):
            roles = sides(sent)
            assert roles[0] == "system"
            assert roles[1::2] == ["user"] * len(roles[1::2])
            assert roles[2::2] == ["assistant"] * len(roles[2::2])
            assert roles[-1] == "user"


def test_a_plan_that_was_cut_off_goes_on_from_what_was_written() -> None:
    made = InProcessRun(config(), GOAL, script)
    state = made.state

    async def cut_off() -> Brief:
        while not made.sent:
            await made.step()
        call = state.calls["plan-1"]
        call.attempt, call.follow_up = 2, FollowUp(made.keep('{"continue": '), continues=True)
        return await made.briefer.brief(call, state)

    brief = asyncio.run(cut_off())
    assert brief.continue_final
    assert brief.messages[-1] == Message("assistant", '{"continue":')
    before = made.sent[0].brief.messages
    assert brief.messages[:-1] == before
    assert read_stack(brief.prompt_json).render() == brief.messages


def test_what_moves_stands_in_the_newest_message_only() -> None:
    load = PoolLoad(rates={"naughty": 42.0}, running={"naughty": 1}, waiting={})
    first, second, _ = prompts(run(load=load), "plan")
    assert "42 tokens/s" in first.brief.messages[-1].content
    assert "42" not in first.brief.messages[0].content
    assert first.brief.messages[0] == second.brief.messages[0]


def test_results_are_told_by_reference_and_answers_in_words() -> None:
    last = prompts(run(), "plan")[-1]
    kinds = [message.kind for message in read_stack(last.brief.prompt_json).messages]
    assert kinds == [
        *("system", "goal", "turn", "plan", "results", "turn"),
        *("plan", "results", "question", "turn"),
    ]
    page = PAGE.format("about.html")
    assert f"about.html by about: sha256 {ev.text_ref(page).sha256[:12]}" in content(last)
    assert page not in content(last)
    assert "check (grandpa) answered: All is well." in content(last)
    assert "Which colour should the links have?" in content(last)


def test_a_worker_gets_references_and_in_full_what_its_plan_needs() -> None:
    made = run()
    about, check, readme = (worker(made, name) for name in ("about", "check", "readme"))
    home, page = PAGE.format("index.html"), PAGE.format("about.html")
    assert home not in about
    assert "index.html by home: sha256" in about
    assert page in check
    assert home not in check
    assert "All is well." in readme


def test_the_rules_planners_review_reads_the_files() -> None:
    made = run(config(orchestrator={"reviewer": "grandpa", "plan_tries": 0}))
    review = next(sent for sent in made.sent if sent.call == "review")
    for file in ("index.html", "about.html", "README.md"):
        assert PAGE.format(file) in content(review)


def test_pages_under_a_contract_get_no_sources() -> None:
    shared = '<header data-palette="teal"><p>Site</p><p>Tag</p></header><footer><p>F</p></footer>'

    def contract_first(call: CallState, brief: Brief) -> str:
        file = call.planned.output_file
        return shared if file == "contract.html" else script(call, brief)

    settings = config(
        contract={"kind": "html-page"}, orchestrator={"reviewer": "grandpa", "plan_tries": 0}
    )
    made = run(settings, script=contract_first)
    for name in ("index", "about"):
        assert "sha256" not in worker(made, name)
        assert "data-palette" not in worker(made, name)


def test_a_rejected_plan_is_answered_on_the_same_stack() -> None:
    def stubborn(call: CallState, brief: Brief) -> str:
        if call.kind == "plan" and call.turn == 1 and call.attempt == 1:
            return plan(node("a", "index.html", depends_on=["nobody"]))
        return script(call, brief)

    first, second, *_ = prompts(run(script=stubborn), "plan")
    assert render_bytes(second.brief.messages).startswith(render_bytes(first.brief.messages))
    newest = read_stack(second.brief.prompt_json).messages[-3:]
    assert [message.kind for message in newest] == ["plan", "rejected", "turn"]
    assert "nobody" in newest[1].text
    assert newest[2].text.endswith("Plan turn 1 again.")


def test_an_attempt_that_failed_without_an_answer_is_asked_the_same_again() -> None:
    def flaky(call: CallState, brief: Brief) -> str | FailureClass:
        if call.kind == "plan" and call.turn == 2 and call.attempt == 1:
            return FailureClass.BACKEND_UNREACHABLE
        return script(call, brief)

    _, once, again, _ = prompts(run(script=flaky), "plan")
    assert once.brief.prompt_json == again.brief.prompt_json


def test_a_turn_that_rules_planned_is_told_as_a_decision() -> None:
    def lost(call: CallState, brief: Brief) -> str:
        if call.kind == "plan" and call.turn == 1:
            return "I would rather not."
        return script(call, brief)

    last = prompts(run(script=lost), "plan")
    assert all(sent.turn == 1 for sent in last)  # the rules made every file in the first turn


def test_a_run_that_outgrows_its_window_is_compacted_on_the_record() -> None:
    small = config(plans={"window_tokens": 1_200})
    made = run(small, script=many_turns)
    compactions = [e.body for e in made.history if isinstance(e.body, ev.StackCompacted)]
    assert compactions
    for did in compactions:
        assert did.tokens_after < did.tokens_before
        assert "the window 1200" in did.reason
    for sent in prompts(made, "plan"):
        assert prompt_tokens(sent.brief.messages) <= 1_200
        assert "Make a site" in content(sent)
    for earlier, later in pairwise(prompts(made, "plan")):
        grown = render_bytes(later.brief.messages).startswith(render_bytes(earlier.brief.messages))
        assert grown is (later.brief.compaction is None)


def many_turns(call: CallState, brief: Brief) -> str:
    if call.kind != "plan":
        return script(call, brief)
    files = ("index.html", "about.html", "README.md")
    calls = [node(f"t{call.turn}", files[call.turn % 3])]
    return plan(*calls, more=call.turn < 9)


def test_a_session_goes_on_on_the_same_stack() -> None:
    first = run()
    second = run(stack=session_stack(first), run_id="r-2", inherited=first.files())
    before = render_bytes(prompts(first, "plan")[-1].brief.messages)
    after = prompts(second, "plan")[0]
    assert render_bytes(after.brief.messages).startswith(before)
    assert "README.md: sha256" in content(after)  # made in the last turn, so not told before
    assert content(after).count("index.html by home: sha256") == 1
    assert content(after).count("index.html: sha256") == 0


def test_another_system_prompt_begins_the_stack_anew() -> None:
    first = run()
    more = config().model_dump(mode="json")
    more["aliases"]["coder"] = {"pool": "p", "mode": "output_file"}
    changed = run(Config.model_validate(more), stack=session_stack(first), run_id="r-2")
    asked = prompts(changed, "plan")
    assert "- coder (" in asked[0].brief.messages[0].content
    assert asked[0].brief.compaction is not None
    assert asked[1].brief.compaction is None


def test_v1_tells_nothing_of_capacity() -> None:
    load = PoolLoad(rates={"naughty": 42.0}, running={}, waiting={})
    fixed = config(orchestrator={"prompt": "v1", "plan_tries": 2})
    for sent in prompts(run(fixed, load=load), "plan"):
        assert sent.brief.prompt_name == "orchestrator/v1"
        assert "tokens/s" not in content(sent)
        assert "at once" not in content(sent)


def test_a_wire_other_than_json_is_shown_in_the_newest_message_and_not_held_to_a_schema() -> None:
    made = InProcessRun(config(plans={"wire": "xml"}), GOAL, script)

    async def first_plan() -> Brief:
        while not made.sent:
            await made.step()
        return made.sent[0].brief

    brief = asyncio.run(first_plan())
    assert brief.grammar is None
    assert "<familiar-" in brief.messages[-1].content
    assert "<familiar-" not in brief.messages[0].content


@given(st.integers(0, 2**32), st.integers(1_000, 3_000))
@settings(max_examples=25, deadline=None)
def test_a_restart_at_any_point_gives_the_same_prompts(seed: int, window: int) -> None:
    settings_ = config(plans={"window_tokens": window})
    whole = run(settings_, script=many_turns)
    broken = InProcessRun(settings_, GOAL, many_turns)

    async def with_restarts() -> None:
        steps = 0
        while broken.state.ended is None:
            await broken.step()
            steps += 1
            if (seed >> (steps % 32)) & 1:
                broken.restart()

    asyncio.run(with_restarts())
    assert [s.brief.prompt_json for s in broken.sent] == [s.brief.prompt_json for s in whole.sent]
    assert broken.history == whole.history


@pytest.mark.parametrize("kind", ["plan", "worker", "synthesis"])
def test_every_prompt_has_a_name_and_a_version(kind: str) -> None:
    for sent in prompts(run(), kind):
        assert sent.brief.prompt_name
        assert len(sent.brief.prompt_version) == 12
