"""The message stack: all messages to an orchestrator and its answers, as one immutable value.

Invariants:

1. The first message, and only the first, is of kind `system`.
2. Between two compactions the stack only grows. What was sent (`checkpoint`) is never changed, and
   never taken back: `pop` gives back only what was pushed since.
3. So the bytes of each prompt that is sent (`render_bytes` at a checkpoint) are a prefix of the
   bytes of every later one, until a compaction.
4. A compaction is the only way to a shorter stack, and is counted in `compactions`.

Rendering: neighbours of one role that were pushed between two sends are one chat message, because
chat templates want the two sides to take turns; what was sent is never joined to what came later.
To bytes: one JSON object `{"role": …, "content": …}` and a line feed for each chat message, in
UTF-8. The objects are what an engine is given; a chat template that writes message after message
keeps the prefix, and so does the engine's prefix cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from familiar.context.message import KINDS, Fact, StackMessage
from familiar.context.tokens import prompt_tokens
from familiar.engine import Message
from familiar.errors import StackError

JOINT = "\n\n"


@dataclass(frozen=True, slots=True)
class Stack:
    """`sends` are the lengths that the stack had when it was sent; `compactions` counts new
    beginnings."""

    messages: tuple[StackMessage, ...]
    sends: tuple[int, ...] = ()
    compactions: int = 0

    @classmethod
    def begin(cls, system: str) -> Stack:
        return cls((StackMessage("system", system),))

    def __post_init__(self) -> None:
        kinds = [message.kind for message in self.messages]
        if kinds[:1] != ["system"] or "system" in kinds[1:]:
            raise StackError("A stack begins with its one system message.")
        if self.sent > len(kinds):
            raise StackError(f"{self.sent} of {len(kinds)} messages cannot have been sent.")

    @property
    def system(self) -> str:
        return self.messages[0].text

    @property
    def sent(self) -> int:
        """The number of messages that were part of a prompt already."""
        return self.sends[-1] if self.sends else 0

    @property
    def tokens(self) -> int:
        """By the estimate of `tokens.py`."""
        return prompt_tokens(self.render())

    def push(self, *messages: StackMessage) -> Stack:
        return replace(self, messages=self.messages + messages)

    def pop(self) -> tuple[Stack, StackMessage]:
        """The stack without its newest message, and that message. Raises `StackError` when it was
        sent already, or is the system message."""
        if len(self.messages) <= max(self.sent, 1):
            raise StackError("The newest message was sent; a sent message cannot be removed.")
        return replace(self, messages=self.messages[:-1]), self.messages[-1]

    def checkpoint(self) -> Stack:
        """The stack as it is sent now: all of it is frozen from here on."""
        if self.sent == len(self.messages):
            return self
        return replace(self, sends=(*self.sends, len(self.messages)))

    def without_draft(self) -> Stack:
        """The stack without an unfinished answer that the model was sent to go on from: the whole
        answer, which begins with it, takes its place."""
        if self.messages[-1].kind != "plan":
            return self
        rest = len(self.messages) - 1
        sends = (*(length for length in self.sends if length < rest), rest)
        return replace(self, messages=self.messages[:-1], sends=sends)

    def render(self) -> tuple[Message, ...]:
        """The chat messages, as an engine is given them."""
        return tuple(
            Message(group[0].role, JOINT.join(message.text for message in group))
            for group in self._groups()
        )

    def render_bytes(self) -> bytes:
        return render_bytes(self.render())

    def to_json(self) -> str:
        """The record of a prompt: `role` and `content` as they were sent, and the kinds,
        lengths and facts from which the stack is built again."""
        return json.dumps([_row(group) for group in self._groups()], ensure_ascii=False)

    def _groups(self) -> list[list[StackMessage]]:
        """Messages by the chat message that they become."""
        groups: list[list[StackMessage]] = []
        bounds = frozenset(self.sends)
        for at, message in enumerate(self.messages):
            if groups and at not in bounds and groups[-1][0].role == message.role:
                groups[-1].append(message)
            else:
                groups.append([message])
        return groups


def render_bytes(messages: Iterable[Message]) -> bytes:
    """A prompt as bytes, one line for each message."""
    lines = (
        json.dumps({"role": m.role, "content": m.content}, ensure_ascii=False) + "\n"
        for m in messages
    )
    return "".join(lines).encode("utf-8", "replace")


def read_stack(recorded: str, *, open_end: bool = False) -> Stack:
    """A stack from what was recorded. Everything on it was sent, except, with `open_end`, its last
    chat message. Raises `StackError` for text that is not a recorded prompt."""
    messages: list[StackMessage] = []
    sends: list[int] = []
    try:
        for row in json.loads(recorded):
            messages += _messages(row)
            sends.append(len(messages))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StackError(f"This is not a recorded prompt: {error}.") from None
    return Stack(tuple(messages), sends=tuple(sends[:-1] if open_end else sends))


def _row(group: list[StackMessage]) -> dict[str, object]:
    parts = [
        [m.kind, len(m.text), *([[[f.key, f.line] for f in m.facts]] if m.facts else [])]
        for m in group
    ]
    content = JOINT.join(message.text for message in group)
    return {"role": group[0].role, "content": content, "parts": parts}


def _messages(row: dict[str, object]) -> list[StackMessage]:
    """Prompts of earlier versions have no parts: the role says what they must have been."""
    content, parts = row["content"], row.get("parts")
    if not isinstance(content, str):
        raise TypeError("a message whose content is no text")
    if parts is None:
        kind = {"system": "system", "assistant": "plan"}.get(str(row["role"]), "results")
        parts = [[kind, len(content)]]
    messages: list[StackMessage] = []
    at = 0
    for kind, size, *facts in parts:  # type: ignore[attr-defined]  # wrong types raise
        if kind not in KINDS:
            raise ValueError(f"a message of kind {kind!r}")
        known = tuple(Fact(str(key), str(line)) for found in facts for key, line in found)
        messages.append(StackMessage(kind, content[at : at + size], known))
        at += size + len(JOINT)
    if JOINT.join(message.text for message in messages) != content:
        raise ValueError("parts that are not the message")
    return messages
