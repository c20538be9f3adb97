"""Requests to an engine and its answers, as values that every engine and every replica share.

An engine (vLLM in process, an OpenAI-compatible URL, the scripted one) turns one `GenerateRequest`
into a stream of `Delta`s. The types stand here, in the pure core, so that a request can be built,
recorded, replayed and compared without importing any engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from familiar.errors import EngineError

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message, as it is rendered by the model's own chat template."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """The settings of sampling. `max_tokens` bounds the answer; `seed` makes an engine
    repeatable."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_tokens: int = 1024
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputGrammar:
    """The form of the decoded text. `kind` names the notation of `text`: a JSON schema, an EBNF
    grammar whose start rule is `root` (the notation of xgrammar), or a regular expression."""

    kind: Literal["json", "ebnf", "regex"]
    text: str


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One generation. `request_id` is unique for an attempt: `run/call/attempt`.

    With `continue_final` the last message is the assistant's, unfinished: the answer goes on where
    it stops, and the deltas hold only what is new."""

    request_id: str
    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    grammar: OutputGrammar | None = None
    continue_final: bool = False


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer.

    `text` is new text, `tokens` the number of new output tokens behind it. The last delta of a
    stream carries `finish_reason`; `prompt_tokens` and `cached_tokens` (prompt tokens served by the
    prefix cache) are 0 until the engine knows them, at the latest in the last delta. `reasoning` is
    new text of the model's reasoning: progress, and never a part of the answer. `waiting` is the
    error for which the engine waits for its server before the first token; such a delta has no
    tokens.
    """

    text: str = ""
    tokens: int = 0
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    reasoning: str = ""
    waiting: EngineError | None = None


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A reading of an engine. `tokens_per_s` is over the last few seconds, all requests together;
    the totals count since the engine started."""

    running: int = 0
    waiting: int = 0
    tokens_per_s: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """Whether the engine can serve now; `reason` says why not, in words for a person."""

    ok: bool
    reason: str = ""


class Engine(Protocol):
    """The protocol of every engine. All methods run in one event loop and never block it."""

    @property
    def owned(self) -> bool:
        """Whether the engine lives in this process, which then has to end when the engine fails. A
        server at a URL is not owned: it may be busy, restarting or not up yet."""

    async def start(self) -> None:
        """Load the model, or see that the server knows it. A server that is not up yet is no
        error: `health` says so. Raises `EngineError` for what time alone does not cure."""

    def generate(self, request: GenerateRequest) -> AsyncIterator[Delta]:
        """Stream the answer. Closing the iterator early aborts the request in the engine.
        Raises `EngineError` (its `failure_class` says what broke)."""

    async def health(self) -> EngineHealth: ...

    def stats(self) -> EngineStats: ...

    async def stop(self) -> None:
        """End the engine and every process it started. Safe to call twice."""
