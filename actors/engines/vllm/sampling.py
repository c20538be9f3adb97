"""A request in vLLM's terms: sampling, output grammar and the switches of thinking."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from familiar.config.schema import ThinkingConfig
from familiar.engine import GenerateRequest, OutputGrammar

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams


def template_arguments(thinking: ThinkingConfig | None) -> dict[str, JsonValue]:
    """The arguments of the chat template that switch thinking."""
    if thinking is None:
        return {}
    effort = {} if thinking.effort is None else {"reasoning_effort": thinking.effort}
    return {**effort, **thinking.template_arguments()}


def sampling_parameters(
    request: GenerateRequest, room: int, thinking: ThinkingConfig | None
) -> SamplingParams:
    """`room` is the number of tokens that the context has left for the answer."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = request.sampling
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or 0,
        repetition_penalty=sampling.repetition_penalty or 1.0,
        max_tokens=min(sampling.max_tokens, room),
        seed=sampling.seed,
        stop=list(sampling.stop) or None,
        output_kind=RequestOutputKind.DELTA,
        structured_outputs=_structured(request.grammar) if request.grammar else None,
        thinking_token_budget=thinking.budget_tokens if thinking else None,
    )


def _structured(grammar: OutputGrammar) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    if grammar.kind == "json":
        return StructuredOutputsParams(json=json.loads(grammar.text), disable_any_whitespace=True)
    if grammar.kind == "ebnf":
        return StructuredOutputsParams(grammar=grammar.text)
    return StructuredOutputsParams(regex=grammar.text)
