"""The messages of an attempt after a failed one: continue the written text, or answer again.

A continuation ends with the assistant's own unfinished text, without the white space at its end:
chat templates trim that, and the model writes it again. A model that is asked again sees its answer
(its beginning, if it is long) and what was wrong with it, behind a prompt that is otherwise the
same, so that an engine's prefix cache serves all of that.
"""

from __future__ import annotations

from familiar.engine import Message
from familiar.prompts.prompt import load_prompt

MAX_ANSWER_CHARS = 4_000
CUT = "\n[… cut …]"


def continued(messages: tuple[Message, ...], written: str) -> tuple[Message, ...]:
    """The prompt of a continuation. The same `messages` when there is nothing to go on from."""
    text = written.rstrip()
    return (*messages, Message("assistant", text)) if text else messages


def asked_again(messages: tuple[Message, ...], answer: str, problem: str) -> tuple[Message, ...]:
    """The prompt that names the problem. Without an answer it joins the last message, because chat
    templates want the two sides to take turns."""
    said = load_prompt("recovery/again").render(problem=problem)
    if answer.strip():
        return (*messages, Message("assistant", head(answer)), Message("user", said))
    if messages and messages[-1].role == "user":
        last = messages[-1]
        return (*messages[:-1], Message("user", f"{last.content}\n\n{said}"))
    return (*messages, Message("user", said))


def head(answer: str) -> str:
    """As much of an answer as is shown again."""
    return answer if len(answer) <= MAX_ANSWER_CHARS else answer[:MAX_ANSWER_CHARS] + CUT
