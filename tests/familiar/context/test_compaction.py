"""What outlives a compaction, and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from familiar.context.compaction import SHARE, Compaction, compact
from familiar.context.message import Fact, StackMessage
from familiar.context.stack import Stack
from familiar.context.tokens import prompt_tokens
from familiar.engine import Message
from tests.familiar.context.test_stack import MESSAGES

WINDOW = 2_000


def compacted(stack: Stack, window: int = WINDOW, **more: str) -> tuple[Stack, Compaction]:
    return compact(stack, reason="full", window_tokens=window, summarise="\n".join, **more)


def results(turn: int, *facts: Fact) -> StackMessage:
    return StackMessage("results", f"Results of turn {turn}: " + "words " * 50, facts)


def story() -> Stack:
    """Two turns that were sent, and the start of a third that was not."""
    return (
        Stack.begin("You plan.")
        .push(StackMessage("goal", "An older goal.", (Fact("goal:1", "Earlier goal: older"),)))
        .push(StackMessage("goal", "Make a site."), StackMessage("turn", "Plan turn 1."))
        .push(StackMessage("plan", "{first}"), StackMessage("contract", "The shared parts."))
        .push(StackMessage("decision", "Turn 1 was planned by rules."))
        .push(results(1, Fact("file:a.html", "a.html: old"), Fact("call:c2", "c2 failed")))
        .push(StackMessage("question", "Which colour?"), StackMessage("turn", "Plan turn 2."))
        .push(StackMessage("plan", "{second}"))
        .push(results(2, Fact("file:a.html", "a.html: new")), StackMessage("turn", "Plan turn 3."))
        .checkpoint()
        .push(StackMessage("plan", "{third}"), results(3, Fact("file:b.html", "b.html: new")))
    )


def test_instructions_contract_decisions_questions_and_the_goal_stay_as_they_were() -> None:
    fresh, _ = compacted(story())
    assert [message.kind for message in fresh.messages] == [
        "system",
        "contract",
        "decision",
        "question",
        "summary",
        "goal",
        "plan",
        "results",
    ]
    before = {message.text for message in story().messages}
    assert {m.text for m in fresh.messages if m.kind != "summary"} <= before
    assert "Make a site." in [message.text for message in fresh.messages]


def test_the_summary_has_the_newest_fact_on_each_subject_of_what_went() -> None:
    fresh, _ = compacted(story())
    summary = next(message for message in fresh.messages if message.kind == "summary")
    assert summary.text.splitlines() == ["Earlier goal: older", "c2 failed", "a.html: new"]


def test_a_second_compaction_summarises_the_summary() -> None:
    once, _ = compacted(story())
    more = once.checkpoint().push(results(4, Fact("file:a.html", "a.html: newest"))).checkpoint()
    twice, _ = compacted(more)
    summary = next(message for message in twice.messages if message.kind == "summary")
    assert summary.text.splitlines() == [
        "Earlier goal: older",
        "c2 failed",
        "b.html: new",
        "a.html: newest",
    ]


def test_the_system_prompt_can_be_replaced() -> None:
    fresh, _ = compacted(story(), system="You plan, and there is a new role.")
    assert fresh.system == "You plan, and there is a new role."


def test_it_says_what_it_did() -> None:
    fresh, did = compacted(story())
    assert did.reason == "full"
    assert did.tokens_before == story().tokens > did.tokens_after == fresh.tokens
    assert "1 contract, 17 characters" in did.kept
    assert any(phrase.startswith("2 results, ") for phrase in did.dropped)
    assert any(phrase.startswith("3 turn, ") for phrase in did.dropped)


def test_what_was_not_sent_becomes_facts_when_it_is_too_large() -> None:
    large = StackMessage("results", "words " * 2_000, (Fact("file:c.html", "c.html: new"),))
    fresh, _ = compacted(story().push(large))
    kinds = [message.kind for message in fresh.messages]
    assert "results" not in kinds
    summary = next(message for message in fresh.messages if message.kind == "summary")
    assert "c.html: new" in summary.text.splitlines()


def test_facts_beyond_their_share_are_counted() -> None:
    facts = (Fact(f"file:{n}.html", f"{n}.html: sha256 0123456789ab") for n in range(400))
    fresh, did = compacted(Stack.begin("s").push(results(1, *facts)).checkpoint())
    summary = next(message for message in fresh.messages if message.kind == "summary")
    assert summary.text.splitlines()[-1].startswith("399.html")
    assert any(phrase.endswith("oldest facts") for phrase in did.dropped)
    assert fresh.tokens < WINDOW


@given(st.lists(MESSAGES, max_size=30), st.integers(400, 4_000), st.booleans())
def test_it_is_repeatable_and_bounded(
    messages: list[StackMessage], window: int, sent: bool
) -> None:
    stack = Stack.begin("You plan.").push(*messages)
    stack = stack.checkpoint() if sent else stack
    fresh, did = compacted(stack, window)
    assert (fresh, did) == compacted(stack, window)
    always = [m for m in fresh.messages if m.kind in ("system", "contract", "goal")]
    room = prompt_tokens(Message(message.role, message.text) for message in always)
    assert fresh.tokens <= room + 3 * window * SHARE + 30
