"""One message on the stack, with a kind that says what it is for.

The kind decides who speaks in the chat (`role`) and what a compaction does with the message
(`compact`). `facts` are the lines that outlive a compaction: short, keyed, so that a newer one on
the same thing (a file that was written again) replaces the older.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "system",  # the frozen instructions
    "goal",  # what a person wants; begins a run
    "contract",  # what the files share, by reference
    "plan",  # the model's own answer, as it wrote it
    "results",  # what the calls of a turn made, by reference
    "rejected",  # why a plan was rejected
    "decision",  # a choice that was not the model's, with its reasons
    "question",  # a question of a worker that has no answer yet
    "artifact",  # files of earlier runs, by reference
    "synthesis",  # the answer that a run ended with
    "summary",  # what a compaction left of older messages
    "turn",  # where things stand and what moves; the newest message of every prompt
]
Role = Literal["system", "user", "assistant"]
KINDS: frozenset[str] = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Fact:
    """A line worth keeping. `key` names its subject: `file:index.html`, `call:c4`."""

    key: str
    line: str


@dataclass(frozen=True, slots=True)
class StackMessage:
    """One thing that is said, and what stays of it."""

    kind: Kind
    text: str
    facts: tuple[Fact, ...] = ()

    @property
    def role(self) -> Role:
        """The speaker in the chat."""
        if self.kind == "system":
            return "system"
        return "assistant" if self.kind == "plan" else "user"
