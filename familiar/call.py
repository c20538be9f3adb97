"""A model call as it travels: the order that a replica receives and the outcome that it gives back.

Planning, worker calls and syntheses are all calls: one way to route, carry out, time out, adopt and
record them. `CallKey` (run, call, attempt) is the identity of an attempt everywhere: in events, in
the engine's request id, in the table by which a replica never carries out the same attempt twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic import JsonValue

from familiar.engine import FinishReason, GenerateRequest
from familiar.errors import FailureClass

CallKind = Literal["plan", "worker", "synthesis"]
CallMode = Literal["text", "output_file"]


class CallKey(NamedTuple):
    """One attempt of one call. A tuple, because every table of attempts has it as its key."""

    run_id: str
    call_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.call_id}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `first_token_s` and `total_s` count from the start on the replica, `stall_s` between
    two tokens. The wait in the queue has its own deadline, kept by the orchestrator."""

    first_token_s: float
    stall_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class DocumentSpec:
    """The document to make of an answer. `kind` names one of `familiar.documents`, and the other
    fields mean what that kind says: texts to splice around it, names of parts that it must hold."""

    kind: str = "raw"
    prefix: str = ""
    suffix: str = ""
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallOrder:
    """An attempt that a replica is asked to carry out. A replica writes no file: `output_file`
    names the file that the text is made for."""

    key: CallKey
    epoch: int
    alias: str
    request: GenerateRequest
    deadlines: Deadlines
    kind: CallKind = "worker"
    mode: CallMode = "text"
    output_file: str | None = None
    document: DocumentSpec = field(default_factory=DocumentSpec)
    max_bytes: int = 16 * 1024 * 1024

    @property
    def prefix(self) -> str:
        """The text of earlier attempts that this one continues; empty for one from the start."""
        request = self.request
        return request.messages[-1].content if request.continue_final else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds since the Unix epoch by the replica's clock; `longest_gap_s` between two deltas."""

    started_at: float
    ended_at: float
    first_token_at: float | None = None
    longest_gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed: a class that recovery acts on, a sentence, the evidence for both."""

    failure_class: FailureClass
    message: str
    evidence: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The end of an attempt.

    `raw` is every character of the answer, the continued text included; `text` is the document made
    from it for `output_file`, and `raw` without reasoning for `text`. `reasoning` is what the model
    thought, whether it came apart from the answer or marked inside `raw`. `usage` is of this
    attempt alone. For a failed attempt `raw` is the partial answer. `partial_incomplete` says that
    more may have been written: the replica died, and `raw` is the text that was polled last.
    """

    key: CallKey
    timing: Timing
    usage: Usage
    raw: str = ""
    text: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    repairs: tuple[str, ...] = ()
    failure: Failure | None = None
    partial_incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Publication:
    """A finished file on its way into the workspace's history. Safe to repeat at any point.

    The workspace process writes `text` to `path` and commits it with run, call and attempt in the
    trailer. With `repeated`, an earlier request may have been carried out already, wholly or in
    part: then a commit with this trailer is looked for before anything is written.
    """

    key: CallKey
    epoch: int
    workspace: str
    path: str
    sha256: str
    text: str
    alias: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """Where a publication ended: the commit that holds the file (40 hex digits) and its size."""

    path: str
    commit: str
    bytes: int
