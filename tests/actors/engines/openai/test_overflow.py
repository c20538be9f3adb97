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


IN_OTHER_WORDS = [
    'too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5921. Try using a shorter prompt',
    'The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.',
    'Too many input tokens. Max input tokens: 8192, request input token count: 9000 ',
    'The prompt is too long: 131073, model maximum context length: 131071',
    'Prompt length 9000 is greater than max_seq_len 8192',
    'Context length 10000 is greater than max_seq_len 4096',
    "Input length (9000) exceeds model's maximum context length (8192).",
    "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens. Please reduce the length of the input messages.",
    'The sum of prompt length (9000), query length (0) and max_tokens (1) should not exceed max_num_tokens (8192)',
    'Prompt length (9000) exceeds maximum input length (8192). Set log level to info and check TRTGptModel logs for how maximum input length is set',
    'The token length of the request exceeds session_len',
    'Context size has been exceeded.',
    'Input prompt is too big compared to KV size. Please try increasing KV size.',
    'failed to decode the batch: KV cache is full - try increasing it via the context size',
    'input is too large to process. increase the physical batch size (current batch size: 512)',
    'Bad request: prompt token count (9000) cannot exceed 4096. Please decrease the length of your prompt.',
    'the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model',
    'AiError: The estimated number of input and maximum output tokens (9000) exceeded this model context window limit (8192).',
    'Please reduce the length of the messages or completion. Current length is 8195 while limit is 8192',
    'Input sequence length 9000 too long',
    'Prompt must be less than 8192 tokens',
    'max_total_tokens (9000) must be less than or equal to max_seq_len (8192)',
    'Prompt exceeds max length',
    'Range of input length should be [1, 30720]',
    'Invalid request: Your request exceeded model token limit: 8192',
    'Prompt tokens too long',
    'the max input length is 5120, but got 9000',
    'Request body too large for gpt-4o model. Max size: 8000 tokens.',
    'Unable to submit request because the input token count is 40000 but model only supports up to 32768. Reduce the input token count and try again.',
    'Input is too long for this model, shorten your input',
    'Token indices sequence length is longer than the specified maximum sequence length for this model (9000 > 4096)',
    'Input length of input_ids is 9000, but `max_length` is set to 8192.',
    'Request exceeds the maximum size',
    'prompt is too long: your prompt has 210000 tokens, limit 200000',
    'exceeds the maximum allowed number of input tokens',
    'Request prompt has 9000 tokens in total, larger than the model input length limit 4096.',
    'No models have context window large enough for this call',
    'The conversation is too long, please start a new one.',
    'The message you submitted was too long, please reload the conversation and submit something shorter.',
    'Prompt sequence length is greater than 4096, perhaps consider using `truncate_sequence`?',
    'The number of tokens to keep from the initial prompt is greater than the context length. Try to load the model with a larger context length, or provide a shorter input',
    'Reached the end of the context window.',
    '上下文长度超出限制',
    '输入长度超过模型最大限制: 8192',
    '请求的 token 数 9000 超出模型上下文 8192',
    'The model supports 8192 tokens and you sent 9000.',
    'Not enough room left in the context for the prompt',
    'Context overflow: 9000/8192 tokens',
    '9000 tokens requested, 8192 available in context',
    "Prompt (9000 tokens) does not fit into the model's window (8192 tokens)",
    'inputs tokens 9000 over limit 8192',
    "Your prompt of 9000 tokens goes past this model's 8192-token window.",
    'total tokens (prompt 9000 + completion 500) would exceed n_ctx=8192',
    'Sequence length 9000 surpasses maximum 8192',
    'the prompt is 9000 tokens long; the model can handle at most 8192',
    'context window full',
    'Input validation error: inputs must have less than 4096 tokens. Given: 9000',
    'ValueError: Prompt too long to fit in the context',
    'max_tokens must be at least 1, got -512.',
    'You have exceeded the context size of the model',
    'Input too long. Prompt length: 9000, Max: 8192',
    'exceeded the max sequence length of the engine: 9000 > 8192',
    'The total number of tokens in the system and user messages exceeds the limit (8192)',
    'The request was too large for the context of the model',
    'Input text exceeds maximum token length of 512 tokens',
    'model_max_prompt_tokens_exceeded',
    'tokens_limit_reached',
    'PromptTooLongError',
    'Exceeded maximum input length of 8192 tokens',
    "Payload exceeds the model's token budget",
    'input_length: 9000 > max_input_length: 8192',
    'Requested 9000 tokens but only 8192 can be processed',
    'Number of tokens (9000) exceeded maximum context length (8192).',
    'the request has too many tokens for this model',
    'prompt needs 9000 tokens, but the slot has only 4096',
    'requested context 9000 > slot context 4096',
    'this prompt is longer than what the model can read',
    'Text length (40000 chars) is longer than allowed for the model',
    'Die Eingabe ist zu lang (9000 Tokens, maximal 8192)',
    "L'entrée dépasse la longueur maximale du contexte (9000 > 8192 tokens)",
    'Input length 131393 exceeds the maximum allowed input length of 131040 tokens.',
    'Prompt too long: 5152 tokens exceeds max_seq_len 2048 (leave room for output tokens)',
    "This model's maximum context length is 262144 tokens. However, you requested 0 output tokens and your prompt contains at least 262145 input tokens, for a total of at least 262145 tokens. Please reduce the length of the input prompt or the number of requested output tokens. (parameter=input_tokens, value=262145)",
    'The decoder prompt (length 9000) is longer than the maximum model length of 8192.',
    'Model context limit exceeded',
    'The total number of tokens (9000) is larger than the context of 8192',
    'prompt is longer than the context window (n_ctx = 2048): 3001',
    'token count exceeds model capacity',
    "Your request is too big for the loaded model's context",
    'You have hit the context limit. Start a new chat.',
    'Request has 9000 input tokens, which is over the 8192 allowed',
    'The prompt is 9000 tokens, but this deployment accepts up to 8192.',
    'Cannot process prompt: 9000 tokens, limit is 8192',
    'The input prompt has 9000 tokens, exceeding the maximum of 8192',
    'context_window_exceeded',
    'INVALID_ARGUMENT: The input token count exceeds the maximum number of tokens allowed 1048576.',
    'number of tokens in input exceeds 8191 for this deployment',
    '{"code":"1261","message":"Prompt exceeds max length"}',
    '输入tokens超过上下文窗口限制',
    'Prompt 超长',
    'Total message size exceeds limit: 9000 tokens > 8192',
    'input is longer than allowed (9000 vs 8192 tokens)',
    'This message is too long for the model to process in one request.',
    'Message is too long. Maximum of 8192 tokens.',
    'llama_decode: failed to decode, the context is full',
    'decode error: prompt exceeds batch and context is too small',
    'the prompt has 5120 tokens which does not fit in the 4096 token context',
    'requested tokens (9000) > n_ctx (4096)',
    'slot context exhausted: 4096 of 4096 used',
    "Conversation exceeds this model's memory of 8192 tokens",
    'Generation would need 9100 positions but model has max_position_embeddings=8192',
    'failed to apply chat template or tokenize: prompt larger than context',
    'ContextLengthExceededException',
    'REQUEST_TOO_LARGE',
    'error code: context_length_exceeded, param: messages',
    'Please shorten your prompt; the limit is 8192 tokens.',
    'Please provide a shorter prompt.',
    'Too much text: the model can only take 8192 tokens.',
    'Need 9000 tokens of context, have 4096.',
    'The engine prompt length 9000 exceeds the max_model_len 8192. Please reduce prompt.',
    'Oversized prompt',
    'Prompt overflow',
    'Your input of 9000 tokens is above the model maximum',
    "Model's maximum number of tokens is 8192, but 9000 were given",
]  # fmt: skip


@pytest.mark.parametrize("words", IN_OTHER_WORDS, ids=range(len(IN_OTHER_WORDS)))
def test_it_is_recognised_by_its_meaning(words: str) -> None:
    assert is_overflow(words)


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


OTHERS_BY_STATUS = [
    ('max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for claude-x', 400),
    ("max_tokens (100000) exceeds the model's maximum output tokens (8192)", 400),
    ('max_new_tokens must be <= 1024', 422),
    ('stop: array too long. Expected an array with maximum length 4, but got an array with length 5 instead. (array_above_max_length)', 400),
    ('You can have at most 128 tools.', 400),
    ('temperature must be at most 2', 400),
    ('Request queue is full: maximum 128 waiting requests exceeded', 503),
    ('Model is overloaded: maximum concurrency reached', 429),
    ('Request exceeded the time limit of 600 s', 504),
    ('upstream request timeout', 504),
    ('Request Header Fields Too Large', 431),
    ('URI Too Long', 414),
    ('Invalid schema: too large: maximum 100 properties', 400),
    ('prompt is required', 400),
    ('Your account has exceeded the maximum monthly token limit', 403),
    ('You have reached your daily token limit', 429),
    ('Token limit exceeded, try again in 20 s', 429),
    ('The token has exceeded its maximum age', 401),
    ('Your API token has reached its limit', 403),
    ('Budget has been exceeded! Current cost: 2, Max budget: 1', 400),
    ("model 'x' requires more system memory (9.0 GiB) than is available (8.2 GiB)", 500),
    ('CUDA error: out of memory while allocating the context (n_ctx 8192)', 500),
    ('failed to create context with model: n_ctx too large for memory', 500),
    ('image too large: maximum 20 MB', 400),
    ('n must be at most 1', 400),
    ('top_logprobs must be at most 20', 400),
    ('Request content is not JSON', 400),
    ('Max retries exceeded with url: /v1/chat/completions (Caused by NewConnectionError)', 502),
    ('Connection pool is full, maximum 100', 503),
    ("The model's maximum number of concurrent requests was exceeded", 429),
    ('response_format: input schema exceeds maximum depth of 5', 400),
    ("unknown model 'context-length-8192'", 404),
    ('The content of your message was flagged; limit reached', 400),
    ('reasoning_effort must be one of low, medium, high', 400),
    ('invalid value for max_tokens: more than the limit 4096', 400),
    ('Only one system message is allowed, at the beginning of the conversation', 400),
    ('Message content is limited to text only', 400),
    ('context deadline exceeded', 500),
    ('rpc error: code = DeadlineExceeded desc = context deadline exceeded', 500),
    ('Post "http://x": context deadline exceeded (Client.Timeout exceeded while awaiting headers)', 502),
    ('context canceled', 499),
    ('Template error: conversation roles must alternate; only user and assistant allowed', 500),
    ('The input was rejected: content limit of the filter reached', 400),
    ('Expected maximum of 1 prompt, got 2', 400),
    ('maximum recursion depth exceeded while calling a Python object', 500),
    ('message at index 0 is missing field content; limit not reached', 400),
    ('Input should be less than or equal to 2 (body.temperature)', 422),
    ('Input should be greater than 0 (body.max_tokens)', 422),
    ('Input should be a valid string (body.messages.0.content)', 422),
    ('String should have at most 64 characters (body.user)', 422),
    ('List should have at most 4 items after validation, not 5 (body.stop)', 422),
    ('You have exceeded the maximum number of requests. Please reduce your request frequency', 429),
    ('Input tokens limit exceeded for your tier, wait a moment', 429),
    ("Invalid value: 'foo'. Supported values are: 'system', 'assistant', 'user', and 'tool'. (body.messages[0].role)", 400),
    ('Unrecognized request argument supplied: top_k', 400),
    ('Extra inputs are not permitted (body.stream_options)', 422),
    ('1 validation error for ChatCompletionRequest: max_tokens: Input should be less than or equal to 4096', 422),
    ('Failed to parse the request body as JSON: EOF while parsing a value at line 1 column 0', 400),
    ('Multimodal input is not supported by this model; only text content', 400),
    ('auto tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', 400),
    ('As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template', 400),
    ('Invalid grammar: root rule missing; schema length 0', 400),
    ('regex too large to compile for guided decoding', 400),
    ('Failed to compile grammar: size limit exceeded', 400),
    ('Model not found, try pulling it first', 404),
    ('Too many requests in the queue; maximum 64', 503),
    ('The server is at capacity: 32 requests running, limit 32', 503),
    ('no available server: all 3 backends full', 503),
    ('The request timed out after exceeding 300 seconds', 500),
    ('unexpected EOF', 500),
    ('The model produced invalid content', 500),
    ('Only temperature=1 is supported with this model', 400),
    ('logprobs are limited to 5', 400),
    ('stop sequences must be at most 4', 400),
    ('Input contains characters that are not allowed', 400),
    ("The message role 'developer' is not supported", 400),
    ('n_predict must be larger than 0', 400),
    ('seed must be less than or equal to 4294967295', 400),
    ('reasoning budget 20000 must be less than max_tokens 1000', 400),
    ('thinking.budget_tokens: Input should be greater than or equal to 1024', 400),
    ('`max_tokens` must be greater than `thinking.budget_tokens`', 400),
    ('This model only supports max_tokens up to 4096', 400),
    ('The requested number of output tokens exceeds 4096', 400),
    ('prompt_logprobs requested is larger than max 20', 400),
    ('llama runner process has terminated: exit status 2', 500),
    ('model requires more system memory (12 GiB) than is available (8 GiB)', 500),
    ('unable to allocate CUDA buffer for context', 500),
    ('error loading model: n_ctx_train limit', 500),
    ('TLS handshake: record overflow', 502),
    ('Account limit reached: add credits to continue', 400),
    ('The number of messages must not exceed 100', 400),
    ('Connection prematurely closed; content length 9000, received 8192', 502),
    ('Content-Length header is larger than the body', 400),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status"), OTHERS_BY_STATUS, ids=range(len(OTHERS_BY_STATUS)))
def test_other_limits_have_other_words_or_another_status(words: str, status: int) -> None:
    assert not is_overflow(words, status)


@pytest.mark.parametrize(
    "words",
    [
        "the prompt cannot exceed 4081 - received 5921",
        "5921 vs 4081 tokens: input is longer than allowed",
        "Error 400: the sum of prompt length (5921) and max_tokens (1) should not exceed 4081",
        "gpt-4o has a window of 4081 tokens, exceeded by a prompt of 5921",
    ],
)
def test_of_two_numbers_the_larger_one_is_the_prompt(words: str) -> None:
    assert overflow_numbers(words, {}) == {"context_length": 4081, "prompt_tokens": 5921}


def test_small_numbers_are_no_sizes() -> None:
    assert overflow_numbers("Range of input length should be [1, 2]", {}) == {}
    assert overflow_numbers("gpt-4o: max size 8000 tokens", {}) == {"context_length": 8000}


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
