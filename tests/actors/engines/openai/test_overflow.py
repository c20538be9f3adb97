"""A prompt that does not fit is recognised in the words of every server; other limits are not."""

# ruff: noqa: E501 (servers write long sentences)
from __future__ import annotations

import pytest

from actors.engines.openai.overflow import is_overflow, overflow_numbers

OVERFLOWS = [
    # vLLM, older and newer
    (("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4500 "
     "in the messages, 500 in the completion). Please reduce the length of the messages or "
     "completion."), 4500, 4096),
    (("'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context "
     "length is 4096 tokens and your request has 100 input tokens (5000 > 4096 - 100)."), 100, 4096),
    (("The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make sure "
     "that `max_model_len` is no smaller than the number of text tokens."), 9000, 8192),
    (("You passed 8193 input tokens and requested 0 output tokens. However, the model's context "
     "length is only 8192 tokens, resulting in a maximum input length of 8192 tokens."), 8193, 8192),
    ("The prompt (total length 10000) is too long to fit into the model (context length 8192).",
     10000, 8192),
    # SGLang
    ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", 9000, 8192),
    (("Requested token count exceeds the model's maximum context length of 32768 tokens. You "
     "requested a total of 40000 tokens: 30000 tokens from the input messages and 10000 tokens for "
     "the completion."), None, 32768),
    (("Input length (10000 tokens) exceeds the maximum allowed length (8185 tokens). Use a shorter "
     "input or enable --allow-auto-truncate."), 10000, 8185),
    # llama.cpp and its Python server
    (("the request exceeds the available context size. try increasing the context size or enable "
     "context shift"), None, None),
    ("request (10000 tokens) exceeds the available context size (4096 tokens), try increasing it",
     10000, 4096),
    ("input is too large to process. increase the physical batch size", None, None),
    ("Requested tokens (2285) exceed context window of 2048", 2285, 2048),
    ("Prompt exceeds n_ctx", None, None),
    # LM Studio
    (("Trying to keep the first 11149 tokens when context the overflows. However, the model is "
     "loaded with context length of only 4096 tokens, which is not enough."), 11149, 4096),
    ("The number of tokens to keep from the initial prompt is greater than the context length.",
     None, None),
    ("Reached context length of 4096 tokens with this model", None, 4096),
    # TGI
    (("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 "
     "`inputs` tokens and 200 `max_new_tokens`"), 3000, 2048),
    ("Input validation error: `inputs` must have less than 1024 tokens. Given: 3012", 3012, 1024),
    # ollama, gateways
    ("input length exceeds maximum context length", None, None),
    ("the input length exceeds the context length", None, None),
    ("prompt too long; exceeded max context length by 12 tokens", None, None),
    ("litellm.ContextWindowExceededError: litellm.BadRequestError: AnthropicException", None, None),
    (("This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 "
     "tokens (139000 of text input, 1000 in the output)."), 139000, 131072),
    # cloud APIs
    ("prompt is too long: 213462 tokens > 200000 maximum", 213462, 200000),
    (("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input "
     "length or `max_tokens` and try again"), None, None),
    ("Your input exceeds the context window of this model. Please adjust your input and try again.",
     None, None),
    ("The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
     1196265, 1048575),
    (("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 "
     "tokens. Please reduce the length of the messages."), 509178, 272000),
    (("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
     "context length"), 40000, 32768),
    ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
     537812, 131072),
    ("Please reduce the length of the messages or completion.", None, None),
    ("Input is too long for requested model.", None, None),
    ("prompt token count of 130000 exceeds the limit of 128000", 130000, 128000),
    ("invalid params, context window exceeds limit", None, None),
    ("Your request exceeded model token limit: 262144 (requested: 300000)", 300000, 262144),
    ("Range of input length should be [1, 30720]: the input is too long", None, None),
    ("too many tokens: size limit exceeded by 1711 tokens. Try using shorter or fewer inputs.",
     None, None),
    ("The total length of all messages is too long.", None, None),
    ("error (context_length_exceeded)", None, None),
    ("Prompt length is 9000 which is larger than the available KV cache space", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("words", "prompt", "context"), OVERFLOWS, ids=range(len(OVERFLOWS)))
def test_servers_say_that_a_prompt_does_not_fit(
    words: str, prompt: int | None, context: int | None
) -> None:
    assert is_overflow(words)
    assert is_overflow(words, 500), "also with the status of a broken server"
    found = overflow_numbers(words, {})
    if prompt is not None:
        assert found.get("prompt_tokens") == prompt
    if context is not None:
        assert found.get("context_length") == context


@pytest.mark.parametrize(
    "words",
    [
        (
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000. The "
            "input or output tokens must be reduced in order to run successfully."
        ),
        "Rate limit reached for model: the prompt tokens exceed your limit. Try again in 20s.",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
        "max_tokens must be at least 1, got 0.",
        "You exceeded your current quota, please check your plan and billing details.",
        "The model `x` does not exist.",
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead."
        ),
        "System role not supported",
        "Incorrect API key provided.",
        "Invalid schema for response_format 'answer': schema is too deep.",
        "This request requires more credits, or fewer max_tokens.",
        "Loading model",
        "messages: roles must alternate",
        "The server had an error while processing your request.",
        "Connection limit reached.",
        "Internal Server Error",
        "CUDA out of memory.",
    ],
)
def test_other_limits_and_errors_are_no_overflow(words: str) -> None:
    assert not is_overflow(words)


def test_a_body_that_is_too_large_is_an_overflow_and_fields_win_over_words() -> None:
    assert is_overflow("Payload Too Large", 413)
    assert overflow_numbers("the limit is 9", {"n_prompt_tokens": 1407, "n_ctx": 256}) == {
        "prompt_tokens": 1407,
        "context_length": 256,
    }


@pytest.mark.parametrize(
    "piece", ["context length ", "prompt tokens ", "input ", "exceed ", "1 ", "a"]
)
@pytest.mark.timeout(60)
def test_hostile_words_are_read_to_their_end(piece: str) -> None:
    """Backtracking over so much would run for hours."""
    text = piece * 300_000
    assert isinstance(is_overflow(text), bool)
    assert overflow_numbers(text, {}).keys() <= {"prompt_tokens", "context_length"}
