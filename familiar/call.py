"""A model call as it travels: the order a workbench receives and the outcome it gives back.

Planning, worker calls and syntheses are all calls: one way to route, carry out, time out, adopt and
record them. `CallKey` (run, call, attempt) is the identity of a try everywhere: in events, in the
engine's request id, in the table by which a workbench never carries out the same try twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from familiar.engine import FinishReason, GenerateRequest
from familiar.errors import FailureClass
from familiar.pickling import by_position

CallKind = Literal["plan", "worker", "synthesis"]
CallMode = Literal["text", "output_file"]
JsonScalar = str | int | float | bool | None


class CallKey(NamedTuple):
    """One try of one call. A tuple, because it is the key of every table that knows of tries."""

    run_id: str
    call_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.call_id}/{self.attempt}"


@by_position
@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `first_token_s` and `total_s` count from the start on the replica, `stall_s` between
    two tokens. The wait in the queue has its own deadline, kept by the orchestrator."""

    first_token_s: float
    stall_s: float
    total_s: float


@by_position
@dataclass(frozen=True, slots=True)
class DocumentSpec:
    """The document to make of an answer. `kind` names one of `familiar.documents`, and the other
    fields mean what that kind says: texts to splice around it, names of parts that it must hold."""

    kind: str = "raw"
    prefix: str = ""
    suffix: str = ""
    requires: tuple[str, ...] = ()


@by_position
@dataclass(frozen=True, slots=True)
class CallOrder:
    """What a workbench is asked to carry out."""

    key: CallKey
    epoch: int
    alias: str
    request: GenerateRequest
    deadlines: Deadlines
    mode: CallMode = "text"
    workspace: str = ""
    output_file: str | None = None
    document: DocumentSpec = field(default_factory=DocumentSpec)
    max_bytes: int = 16 * 1024 * 1024

    @property
    def prefix(self) -> str:
        """What earlier tries wrote and this one continues; empty for a try from the start."""
        request = self.request
        return request.messages[-1].content if request.continue_final else ""


@by_position
@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds since the Unix epoch by the workbench's clock; `longest_gap_s` between two deltas."""

    started_at: float
    first_token_at: float | None
    ended_at: float
    longest_gap_s: float = 0.0


@by_position
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one try."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@by_position
@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try failed: a class that recovery acts on, a sentence, and the evidence for both."""

    failure_class: FailureClass
    message: str
    evidence: dict[str, JsonScalar] = field(default_factory=dict)


@by_position
@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of a try.

    `raw` is every character the model wrote, what it continued included; `text` what became of it
    (the document for `output_file`, the same as `raw` for `text`). `usage` is of this try alone.
    For a failed try `raw` is the partial answer, and `partial` names the file that keeps it,
    relative to the workspace.
    """

    key: CallKey
    timing: Timing
    usage: Usage
    raw: str = ""
    text: str = ""
    finish_reason: FinishReason | None = None
    repairs: tuple[str, ...] = ()
    failure: Failure | None = None
    partial: str | None = None


@by_position
@dataclass(frozen=True, slots=True)
class Publication:
    """A finished file on its way into the workspace's history. Safe to repeat at any point.

    The workbench renames the temporary file onto `path` when its hash is `sha256`, writes `text`
    when there is no such file any more, and commits with run, call and attempt in the trailer.
    """

    key: CallKey
    epoch: int
    workspace: str
    path: str
    sha256: str
    text: str
    alias: str


@by_position
@dataclass(frozen=True, slots=True)
class Published:
    """Where a publication ended: the commit that holds the file (40 hex digits) and its size."""

    path: str
    commit: str
    bytes: int


def partial_path(key: CallKey) -> str:
    """Where the text of a try is streamed to, relative to the workspace."""
    return f".familiar/{key.run_id}/{key.call_id}.{key.attempt}.part"
