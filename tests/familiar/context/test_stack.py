"""The message stack keeps what it promises, whatever is done to it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from familiar.brief import read_messages
from familiar.context.compaction import compact
from familiar.context.message import Fact, Kind, StackMessage
from familiar.context.stack import Stack, read_stack, render_bytes
from familiar.engine import Message
from familiar.errors import StackError

KINDS = [kind for kind in get_args(Kind) if kind != "system"]
FACTS = st.builds(Fact, st.sampled_from(["file:a", "file:b", "call:c"]), st.text(max_size=20))
MESSAGES = st.builds(
    StackMessage,
    st.sampled_from(KINDS),
    st.text(max_size=60),
    st.lists(FACTS, max_size=3).map(tuple),
)


class Operations(RuleBasedStateMachine):
    """Random operations on a stack, with every prompt that was sent since the last compaction."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack.begin("You plan.")
        self.prompts: list[bytes] = []

    @rule(message=MESSAGES)
    def push(self, message: StackMessage) -> None:
        self.stack = self.stack.push(message)

    @rule()
    def pop(self) -> None:
        before = self.stack
        if len(before.messages) > max(before.sent, 1):
            self.stack, popped = before.pop()
            assert self.stack.push(popped) == before
        else:
            with pytest.raises(StackError):
                before.pop()

    @rule()
    def send(self) -> None:
        self.stack = self.stack.checkpoint()
        self.prompts.append(self.stack.render_bytes())

    @precondition(lambda self: self.prompts)
    @rule()
    def restart(self) -> None:
        """What was recorded gives the stack back, and nothing that was not sent."""
        self.stack = self.stack.checkpoint()
        restored = read_stack(self.stack.to_json())
        assert restored.messages == self.stack.messages
        assert restored.sent == len(restored.messages)

    @rule(window=st.integers(64, 4_000))
    def compact(self, window: int) -> None:
        before = self.stack.compactions
        self.stack, _ = compact(
            self.stack, reason="full", window_tokens=window, summarise="\n".join
        )
        assert self.stack.compactions == before + 1
        self.prompts.clear()

    @invariant()
    def every_prompt_is_a_prefix_of_what_comes_later(self) -> None:
        prompts = [*self.prompts, self.stack.render_bytes()]
        for earlier, later in pairwise(prompts):
            assert later.startswith(earlier)

    @invariant()
    def only_the_first_message_is_the_systems(self) -> None:
        roles = [message.role for message in self.stack.render()]
        assert roles[0] == "system"
        assert "system" not in roles[1:]
        assert len(roles) <= len(self.stack.messages)


TestOperations = Operations.TestCase


@given(st.lists(MESSAGES, max_size=8))
def test_what_is_recorded_reads_as_the_messages_that_were_sent(
    messages: list[StackMessage],
) -> None:
    stack = Stack.begin("You plan.").push(*messages).checkpoint()
    assert read_messages(stack.to_json()) == stack.render()
    assert read_stack(stack.to_json()).render_bytes() == stack.render_bytes()


@given(st.lists(MESSAGES, max_size=6), st.lists(MESSAGES, max_size=6))
def test_bytes_say_which_messages_were_sent(
    first: list[StackMessage], second: list[StackMessage]
) -> None:
    one, other = (
        tuple(Message(message.role, message.text) for message in each) for each in (first, second)
    )
    assert (render_bytes(one) == render_bytes(other)) == (one == other)


def test_only_the_models_own_answer_speaks_as_the_assistant() -> None:
    for kind in KINDS:
        assert StackMessage(kind, "words").role == ("assistant" if kind == "plan" else "user")


def test_neighbours_that_were_pushed_together_are_one_chat_message() -> None:
    goal, turn, plan = (StackMessage(kind, kind) for kind in ("goal", "turn", "plan"))
    stack = Stack.begin("You plan.").push(goal, turn, plan, turn)
    assert [m.content for m in stack.render()] == ["You plan.", "goal\n\nturn", "plan", "turn"]


def test_what_was_sent_is_not_joined_to_what_came_later() -> None:
    goal, turn = (StackMessage(kind, kind) for kind in ("goal", "turn"))
    stack = Stack.begin("You plan.").push(goal).checkpoint().push(turn)
    assert [message.content for message in stack.render()] == ["You plan.", "goal", "turn"]


def test_the_end_of_a_sessions_stack_is_open() -> None:
    answer, goal = StackMessage("synthesis", "Done."), StackMessage("goal", "More.")
    plan = StackMessage("plan", "{}")
    recorded = Stack.begin("s").push(goal).checkpoint().push(plan, answer).to_json()
    going_on = read_stack(recorded, open_end=True).push(goal)
    assert [m.content for m in going_on.render()] == ["s", "More.", "{}", "Done.\n\nMore."]


def test_a_whole_answer_takes_the_place_of_its_draft() -> None:
    asked = Stack.begin("s").push(StackMessage("goal", "Do."), StackMessage("plan", "{"))
    again = read_stack(asked.checkpoint().to_json()).without_draft()
    assert [m.role for m in again.render()] == ["system", "user"]
    assert again.without_draft() == again


def test_a_prompt_that_was_recorded_without_kinds_is_read_by_its_roles() -> None:
    recorded = json.dumps(
        [
            {"role": "system", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c"},
        ]
    )
    assert [message.kind for message in read_stack(recorded).messages] == [
        "system",
        "results",
        "plan",
    ]


@pytest.mark.parametrize(
    "recorded",
    [
        "",
        "{}",
        "[]",
        "[1]",
        '[{"role": "user", "content": "b"}]',
        '[{"role": "system", "content": 1}]',
        '[{"role": "system", "content": "a"}, {"role": "system", "content": "a"}]',
        '[{"role": "system", "content": "a", "parts": [["gossip", 1]]}]',
        '[{"role": "system", "content": "abc", "parts": [["system", 1]]}]',
        '[{"role": "system", "content": "abc", "parts": "system"}]',
    ],
)
def test_other_text_is_not_a_stack(recorded: str) -> None:
    with pytest.raises(StackError):
        read_stack(recorded)
