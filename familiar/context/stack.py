"""The message stack: what an orchestrator has been told and has said, as one immutable value.

Invariants:

1. The first message, and only the first, is of kind `system`.
2. Between two compactions the stack only grows. What was sent (`checkpoint`) is never changed, and
   never taken back: `pop` gives back only what was pushed since.
3. So the bytes of each prompt that is sent (`render_bytes` at a checkpoint) are a prefix of the
   bytes of every later one, until a compaction.
4. A compaction is the only way to a shorter stack, and is counted in `compactions`.

Rendering to bytes: one JSON object `{"role": …, "content": …}` and a line feed for each message, in
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


@dataclass(frozen=True, slots=True)
class Stack:
    """`sent` messages were part of a prompt already; `compactions` counts new beginnings."""

    messages: tuple[StackMessage, ...]
    sent: int = 0
    compactions: int = 0

    @classmethod
    def begin(cls, system: str) -> Stack:
        """A new stack with nothing but its instructions."""
        return cls((StackMessage("system", system),))

    def __post_init__(self) -> None:
        kinds = [message.kind for message in self.messages]
        if kinds[:1] != ["system"] or "system" in kinds[1:]:
            raise StackError("A stack begins with its one system message.")
        if not 0 <= self.sent <= len(kinds):
            raise StackError(f"{self.sent} of {len(kinds)} messages cannot have been sent.")

    @property
    def system(self) -> str:
        return self.messages[0].text

    @property
    def tokens(self) -> int:
        """By the estimate of `tokens.py`."""
        return prompt_tokens(self.render())

    def push(self, *messages: StackMessage) -> Stack:
        """The stack with `messages` on top."""
        return replace(self, messages=self.messages + messages)

    def pop(self) -> tuple[Stack, StackMessage]:
        """The stack without its newest message, and that message. Raises `StackError` when it was
        sent already, or is the system message."""
        if len(self.messages) <= max(self.sent, 1):
            raise StackError("The newest message was sent; what a model was told stays told.")
        return replace(self, messages=self.messages[:-1]), self.messages[-1]

    def checkpoint(self) -> Stack:
        """The stack as it is sent now: all of it is frozen from here on."""
        return replace(self, sent=len(self.messages))

    def render(self) -> tuple[Message, ...]:
        """One chat message for each message."""
        return tuple(message.render() for message in self.messages)

    def render_bytes(self) -> bytes:
        return render_bytes(self.render())

    def to_json(self) -> str:
        """What is recorded with a call: `role` and `content` as they were sent, then the kind and
        the facts from which the stack is built again."""
        return json.dumps([_row(message) for message in self.messages], ensure_ascii=False)


def render_bytes(messages: Iterable[Message]) -> bytes:
    """A prompt as bytes, one line for each message."""
    lines = (
        json.dumps({"role": m.role, "content": m.content}, ensure_ascii=False) + "\n"
        for m in messages
    )
    return "".join(lines).encode("utf-8", "replace")


def read_stack(recorded: str) -> Stack:
    """A stack from what was recorded; everything on it was sent. Raises `StackError` for text that
    is not a recorded prompt."""
    try:
        rows = json.loads(recorded)
        messages = tuple(_message(row, first=at == 0) for at, row in enumerate(rows))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StackError(f"This is not a recorded prompt: {error}.") from None
    return Stack(messages, sent=len(messages))


def _row(message: StackMessage) -> dict[str, object]:
    rendered = message.render()
    row: dict[str, object] = {"role": rendered.role, "content": rendered.content}
    row["kind"] = message.kind
    if message.facts:
        row["facts"] = [[fact.key, fact.line] for fact in message.facts]
    return row


def _message(row: dict[str, object], *, first: bool) -> StackMessage:
    """Prompts of earlier versions have no kinds: the role says what they must have been."""
    kind, content = row.get("kind"), row["content"]
    if kind is None:
        kind = {"system": "system", "assistant": "plan"}.get(str(row["role"]), "results")
    if kind not in KINDS or not isinstance(content, str) or (kind == "system") is not first:
        raise ValueError(f"a message of kind {kind!r} at this place")
    facts = row.get("facts", [])
    assert isinstance(facts, list)
    return StackMessage(
        kind=kind,  # type: ignore[arg-type]  # it is one of KINDS
        text=content,
        facts=tuple(Fact(str(key), str(line)) for key, line in facts),
    )
