"""A brief: everything that a model is told for one attempt, and what its answer will become.

Pure: texts that are needed come in, messages come out. The prompt is recorded as JSON
(`prompt_json`), and a brief can be given that recorded prompt back, so that an attempt that is sent
again after a restart asks the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from familiar.call import DocumentSpec
from familiar.config.schema import SamplingConfig
from familiar.engine import Message, OutputGrammar, Sampling
from familiar.event import StackCompacted


@dataclass(frozen=True, slots=True)
class Brief:
    """`stack_json` is the prompt with the kinds of its messages, where it came from a stack;
    `compaction` what was done to the stack for it."""

    messages: tuple[Message, ...]
    prompt_name: str
    prompt_version: str
    sampling: Sampling
    grammar: OutputGrammar | None = None
    grammar_name: str | None = None
    document: DocumentSpec = field(default_factory=DocumentSpec)
    continue_final: bool = False
    stack_json: str | None = None
    compaction: StackCompacted | None = None

    @property
    def prompt_json(self) -> str:
        if self.stack_json is not None:
            return self.stack_json
        return json.dumps(
            [{"role": m.role, "content": m.content} for m in self.messages], ensure_ascii=False
        )

    def with_prompt(self, prompt_json: str) -> Brief:
        messages = read_messages(prompt_json)
        return replace(self, messages=messages, stack_json=prompt_json)


def read_messages(prompt_json: str) -> tuple[Message, ...]:
    return tuple(Message(m["role"], m["content"]) for m in json.loads(prompt_json))


def sampling_of(config: SamplingConfig, *, attempt: int) -> Sampling:
    """A retry draws with another seed: the same draw would fail the same way."""
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        repetition_penalty=config.repetition_penalty,
        max_tokens=config.max_tokens,
        seed=None if config.seed is None else config.seed + attempt - 1,
        stop=tuple(config.stop),
    )
