"""Scenarios of whole servers: those that are not ready, and those that differ."""

from __future__ import annotations

import time

from tests.actors.engines.openai.scenario import (
    OVERFLOW,
    REFUSED,
    UNREACHABLE,
    Exchange,
    Expected,
    scenario,
)
from tests.actors.engines.openai.stream_scenarios import plain

# -- servers that are not ready --------------------------------------------------------------------


@scenario(Expected(waits=True))
async def rate_limited(x: Exchange) -> None:
    if x.nth < 3:
        await x.fails("429 Too Many Requests", {"error": {"message": "slow down"}},
                      "Retry-After: 0.2")  # fmt: skip
    else:
        await plain(x)


@scenario(Expected(waits=True))
async def loading(x: Exchange) -> None:
    if time.monotonic() - x.since < 0.6:
        await x.fails("503 Service Unavailable", {"error": {"message": "Loading model"}})
    else:
        await plain(x)


@scenario(Expected(waits=True))
async def loading_with_an_estimate(x: Exchange) -> None:
    if x.nth < 2:
        said = {"error": "Model x is currently loading", "estimated_time": 0.3}
        await x.fails("503 Service Unavailable", said)
    else:
        await plain(x)


@scenario(Expected(waits=True))
async def reset_before_the_first_token(x: Exchange) -> None:
    if x.nth < 3:
        await x.reset()
    else:
        await plain(x)


@scenario(Expected(waits=True))
async def gateway_without_a_backend(x: Exchange) -> None:
    if x.nth < 2:
        await x.head("502 Bad Gateway", "text/html")
        await x.send("<html><h1>502 Bad Gateway</h1></html>")
    else:
        await plain(x)


@scenario(Expected(waits=True))
async def overloaded_inside_a_200(x: Exchange) -> None:
    await x.head()
    if x.nth < 2:
        await x.event({"error": {"type": "overloaded_error", "message": "Overloaded"}})
    else:
        await x.whole()


@scenario(
    Expected(failure=UNREACHABLE, words="come back later", evidence={"retry_after_s": 3600.0})
)
async def rate_limited_for_long(x: Exchange) -> None:
    await x.fails("429 Too Many Requests", {"error": "come back later"}, "Retry-After: 3600")


@scenario(Expected(failure=UNREACHABLE, words="never up", evidence={"transient": True}))
async def never_ready(x: Exchange) -> None:
    await x.fails("503 Service Unavailable", "never up", "Retry-After: nonsense")


@scenario(Expected(failure=REFUSED, words="exceeded your current quota"))
async def no_quota(x: Exchange) -> None:
    said = {"message": "You exceeded your current quota.", "code": "insufficient_quota"}
    await x.fails("429 Too Many Requests", {"error": said})


@scenario(Expected(failure=UNREACHABLE, words="CUDA error"))
async def broken_500(x: Exchange) -> None:
    await x.fails("500 Internal Server Error", {"error": {"message": "CUDA error"}})


# -- servers that differ ---------------------------------------------------------------------------


@scenario(Expected(failure=OVERFLOW, words="longer than", evidence={"prompt_tokens": 9000}))
async def overflow_as_400(x: Exchange) -> None:
    said = "The input (9000 tokens) is longer than the model's context length (8192 tokens)."
    await x.fails("400 Bad Request", {"object": "error", "message": said, "code": 400})


@scenario(Expected(failure=OVERFLOW, words="exceeds", evidence={"context_length": 256}))
async def overflow_as_500(x: Exchange) -> None:
    said = {"code": 500, "message": "the request exceeds the available context size",
            "type": "exceed_context_size_error", "n_prompt_tokens": 1407, "n_ctx": 256}  # fmt: skip
    await x.fails("500 Internal Server Error", {"error": said})


@scenario()
async def redirected_on_the_same_host(x: Exchange) -> None:
    if x.path.startswith("/v1/"):
        await x.head("308 Permanent Redirect", "text/plain", f"Location: /other{x.path}")
    else:
        assert x.body["messages"]
        await plain(x)


@scenario(Expected(failure=REFUSED, words="redirect to http://elsewhere.invalid/v1"))
async def redirected_elsewhere(x: Exchange) -> None:
    location = "Location: http://elsewhere.invalid/v1?token=abc"
    await x.head("307 Temporary Redirect", "text/plain", location)


@scenario(Expected(failure=REFUSED, words="redirects more than"))
async def redirected_in_a_circle(x: Exchange) -> None:
    await x.head("302 Found", "text/plain", f"Location: {x.path}")


@scenario(Expected(failure=REFUSED, words="rename: {max_tokens: max_completion_tokens}"))
async def max_tokens_rejected(x: Exchange) -> None:
    said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    await x.fails("400 Bad Request", {"error": {"message": said}})


@scenario(Expected(engine_args={"rename": {"max_tokens": "max_completion_tokens"}}))
async def max_tokens_renamed(x: Exchange) -> None:
    assert "max_tokens" not in x.body
    assert x.body["max_completion_tokens"]
    await plain(x)


@scenario(Expected(engine_args={"omit": ["stream_options", "top_p"]}))
async def fields_left_out(x: Exchange) -> None:
    assert not {"stream_options", "top_p"} & set(x.body)
    await plain(x)


@scenario(Expected(engine_args={"system_role": "user"}))
async def no_system_role(x: Exchange) -> None:
    [message] = x.body["messages"]  # type: ignore[misc]
    assert message["role"] == "user"
    assert "\n\n" in message["content"]
    await plain(x)


@scenario(Expected(engine_args={"api_path": "/api/paas/v4", "query": {"api-version": "1"}}))
async def another_path(x: Exchange) -> None:
    assert x.path == "/api/paas/v4/chat/completions?api-version=1"
    await plain(x)


@scenario(Expected(failure=REFUSED, words="wrong key"))
async def rejected_key_is_not_repeated(x: Exchange) -> None:
    key = x.headers.get("authorization", "")
    await x.fails("401 Unauthorized", {"error": {"message": f"wrong key: {key}"}})


@scenario(Expected(failure=REFUSED, words="too deep (body.messages.0)"))
async def validation_errors(x: Exchange) -> None:
    item = {"loc": ["body", "messages", 0], "msg": "too deep", "input": "the prompt itself"}
    await x.fails("422 Unprocessable Entity", {"detail": [item]})
