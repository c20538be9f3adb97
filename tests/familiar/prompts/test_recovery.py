"""The messages of an attempt that follows a failed one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from familiar.engine import Message
from familiar.prompts.recovery import MAX_ANSWER_CHARS, asked_again, continued

TASK = (Message("system", "You write."), Message("user", "Write a page."))


@given(written=st.text(max_size=60))
def test_a_continuation_is_the_prompt_and_the_unfinished_text(written: str) -> None:
    messages = continued(TASK, written)
    if not written.strip():
        assert messages == TASK
        return
    assert messages[:-1] == TASK
    assert messages[-1].role == "assistant"
    assert messages[-1].content == messages[-1].content.rstrip()
    assert written.startswith(messages[-1].content)


def test_a_model_that_is_asked_again_sees_its_answer_and_the_error() -> None:
    *before, answer, told = asked_again(TASK, "<h1>Hours", "h1 is not closed")
    assert tuple(before) == TASK
    assert answer == Message("assistant", "<h1>Hours")
    assert told.role == "user"
    assert "h1 is not closed" in told.content


def test_a_long_answer_is_shown_by_its_beginning() -> None:
    answer = asked_again(TASK, "x" * 100_000, "too long")[-2].content
    assert len(answer) < MAX_ANSWER_CHARS + 20
    assert answer.startswith("xxx")


def test_without_an_answer_the_sides_still_take_turns() -> None:
    messages = asked_again(TASK, "", "The model wrote nothing.")
    assert [message.role for message in messages] == ["system", "user"]
    assert messages[-1].content.startswith(TASK[-1].content)
    assert "wrote nothing" in messages[-1].content
