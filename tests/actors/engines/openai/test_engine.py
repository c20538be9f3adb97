"""The engine at a URL, against a real server on loopback that streams, refuses and breaks."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from actors.engines.openai import OpenAIEngine
from familiar.engine import Delta, GenerateRequest, Message, OutputGrammar, Sampling
from familiar.errors import ConfigError, EngineError, FailureClass
from familiar.secret import Secret

KEY = "sk-very-secret-0123456789"


class Server:
    """Answers as the last user message says; keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.hung_up = asyncio.Event()
        self.models = ["small"]
        self.healthy = True
        self.url = ""

    async def run(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return runner

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("Authorization"))
        do = body["messages"][-1]["content"]
        refusal = {
            "wrong model": (404, {"error": {"message": "The model `x` does not exist."}}),
            "wrong key": (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
            "too long": (
                400,
                {"error": {"message": "This model's maximum context length is 4096 tokens."}},
            ),
            "too long by code": (400, {"error": {"code": "context_length_exceeded"}}),
            "overload": (429, {"detail": "slow down"}),
            "broken": (500, "no JSON at all"),
        }.get(do)
        if refusal is not None:
            status, said = refusal
            return web.Response(status=status, text=json.dumps(said))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self._stream(do, response)
        except (ConnectionResetError, asyncio.CancelledError):
            self.hung_up.set()
            raise
        return response

    async def _stream(self, do: str, response: web.StreamResponse) -> None:
        async def event(data: object) -> None:
            text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            await response.write(f"data: {text}\r\n\r\n".encode())

        def piece(text: str | None, reason: str | None = None) -> dict[str, object]:
            return {"choices": [{"delta": {"content": text}, "finish_reason": reason}]}

        await response.write(b": a comment that keeps the connection open\n\n")
        await event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        if do == "error inside":
            await event(piece("some"))
            await event({"error": {"message": "engine core died", "code": 500}})
            return
        if do == "hang":
            await event(piece("some"))
            while True:
                await asyncio.sleep(0.01)
                await response.write(b": still here\n\n")
        texts = ["Line\u2028separator, ", "x\x85y", " and 日本", "."]
        for text in texts:
            await event(piece(text))
        if do == "cut":
            return
        if do == "break":
            assert response._req is not None
            assert response._req.transport is not None
            response._req.transport.abort()
            return
        if do == "garbage":
            await event("{not json")
            return
        await event(piece(None, "length" if do == "length" else "stop"))
        await event(
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 40,
                    "completion_tokens": 9,
                    "prompt_tokens_details": {"cached_tokens": 32},
                },
            }
        )
        await event("[DONE]")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = await made.run()
    yield made
    await runner.cleanup()


def make(url: str, **kwargs: Any) -> OpenAIEngine:
    kwargs["engine_args"] = {"patience_s": 0} | kwargs.get("engine_args", {})
    return OpenAIEngine(url, kwargs.pop("model", "small"), api_key=Secret(KEY), **kwargs)


def ask(
    do: str, grammar: OutputGrammar | None = None, sampling: Sampling | None = None
) -> GenerateRequest:
    return GenerateRequest("r/c/1", (Message("user", do),), sampling or Sampling(), grammar)


async def collect(engine: OpenAIEngine, request: GenerateRequest) -> list[Delta]:
    try:
        return [delta async for delta in engine.generate(request)]
    finally:
        await engine.stop()


async def fails(engine: OpenAIEngine, request: GenerateRequest) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await collect(engine, request)
    assert KEY not in str(caught.value)
    assert KEY not in str(caught.value.evidence)
    return caught.value


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/v1"),
        ("/", "/v1"),
        ("/v1", "/v1"),
        ("/v1/", "/v1"),
        ("//v1//", "/v1"),
        ("/v1/v1", "/v1"),
        ("/V1", "/V1"),
        ("/proxy/llm", "/proxy/llm/v1"),
        ("/api/paas/v4", "/api/paas/v4"),
        ("/openai/v1/", "/openai/v1"),
        ("/v1beta/openai", "/v1beta/openai"),
        ("/v1/account/gateway/openai", "/v1/account/gateway/openai"),
    ],
)
@pytest.mark.parametrize("host", ["http://v1", "http://127.0.0.1:8000", "https://[::1]:8000"])
def test_where_the_api_is_below_a_url(host: str, path: str, asked: str) -> None:
    assert make(f" {host}{path} ").server.api == host + asked


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://", "http://[::1", "http://h:99999", "http://h:x", "http://h:0", "ftp://h",
     "http://u:p@h", "http://h/v1?key=k", "http://h/v1#f", "http://a b", "h:8000", "http:///v1"],
)  # fmt: skip
def test_a_url_that_is_none_is_a_matter_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(url)
    assert "u:p" not in str(caught.value)


async def test_text_comes_unchanged_and_usage_puts_the_count_right(server: Server) -> None:
    engine = make(server.url + "/v1/")
    await engine.start()
    deltas = await collect(engine, ask("speak"))
    assert "".join(d.text for d in deltas) == "Line\u2028separator, x\x85y and 日本."
    assert sum(d.tokens for d in deltas) == 9
    last = deltas[-1]
    assert (last.finish_reason, last.prompt_tokens, last.cached_tokens) == ("stop", 40, 32)
    stats = engine.stats()
    assert (stats.running, stats.waiting) == (0, 0)
    assert (stats.prompt_tokens, stats.output_tokens, stats.cached_tokens) == (40, 9, 32)
    assert server.keys == [f"Bearer {KEY}"]


async def test_sampling_is_sent_and_what_is_not_set_is_left_out(server: Server) -> None:
    await collect(make(server.url), ask("speak"))
    sampling = Sampling(0.1, 0.5, 20, 1.1, 77, 3, ("END",))
    await collect(make(server.url, engine_args={"body": {"n": 1}}), ask("length", None, sampling))
    plain, full = server.bodies
    assert plain["max_tokens"] == 1024
    assert plain["stream_options"] == {"include_usage": True}
    assert not {"seed", "stop", "top_k", "repetition_penalty", "response_format"} & set(plain)
    assert (
        full
        | {
            "temperature": 0.1,
            "top_p": 0.5,
            "top_k": 20,
            "repetition_penalty": 1.1,
            "max_tokens": 77,
            "seed": 3,
            "stop": ["END"],
            "n": 1,
        }
        == full
    )


@pytest.mark.parametrize(
    ("way", "kind", "expected"),
    [
        (
            "response_format",
            "json",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"a": 1}, "strict": True},
                }
            },
        ),
        ("response_format", "ebnf", {}),
        ("structured_outputs", "ebnf", {"structured_outputs": {"grammar": '{"a": 1}'}}),
        ("structured_outputs", "json", {"structured_outputs": {"json": {"a": 1}}}),
        ("guided", "regex", {"guided_regex": '{"a": 1}'}),
        ("none", "json", {}),
    ],
)
async def test_a_grammar_is_sent_the_way_the_server_takes_it(
    server: Server, way: str, kind: Any, expected: dict[str, object]
) -> None:
    engine = make(server.url, engine_args={"grammar": way})
    await collect(engine, ask("speak", OutputGrammar(kind, '{"a": 1}')))
    names = ("response_format", "structured_outputs", "guided_regex", "guided_grammar")
    assert {k: v for k, v in server.bodies[0].items() if k in names} == expected


@pytest.mark.parametrize(
    ("do", "expected", "words"),
    [
        ("wrong model", FailureClass.BACKEND_REFUSED, "does not exist"),
        ("wrong key", FailureClass.BACKEND_REFUSED, r"Incorrect API key provided: \[hidden\]"),
        ("too long", FailureClass.CONTEXT_OVERFLOW, "4096"),
        ("too long by code", FailureClass.CONTEXT_OVERFLOW, "context_length_exceeded"),
        ("overload", FailureClass.BACKEND_UNREACHABLE, "slow down"),
        ("broken", FailureClass.BACKEND_UNREACHABLE, "no JSON at all"),
        ("error inside", FailureClass.BACKEND_UNREACHABLE, "engine core died"),
        ("cut", FailureClass.BACKEND_UNREACHABLE, "without a finish reason"),
        ("break", FailureClass.BACKEND_UNREACHABLE, "broke the stream after 4 tokens"),
        ("garbage", FailureClass.BACKEND_UNREACHABLE, "not a JSON object"),
    ],
)
async def test_every_way_to_fail_has_its_class_and_the_servers_words(
    server: Server, do: str, expected: FailureClass, words: str
) -> None:
    error = await fails(make(server.url), ask(do))
    assert error.failure_class == expected
    assert error.evidence["url"] == server.url
    import re

    assert re.search(words, str(error))


@pytest.mark.parametrize("way", ["continue_final_message", "message"])
async def test_an_unfinished_answer_is_sent_the_way_the_server_takes_it(
    server: Server, way: str
) -> None:
    made = OpenAIEngine(server.url, "small", engine_args={"continuation": way})
    messages = (Message("user", "Write."), Message("assistant", "<h1>Ho"))
    await collect(made, GenerateRequest("r/c/2", messages, continue_final=True))
    await collect(made, GenerateRequest("r/c/3", messages[:1]))
    going_on, plain = server.bodies
    if way == "message":
        assert [m["role"] for m in going_on["messages"]] == ["user", "assistant", "user"]
        assert "Continue exactly" in going_on["messages"][-1]["content"]
        assert "continue_final_message" not in going_on
    else:
        assert going_on["messages"][-1] == {"role": "assistant", "content": "<h1>Ho"}
        assert going_on["continue_final_message"] is True
        assert going_on["add_generation_prompt"] is False
    assert len(plain["messages"]) == 1
    assert "add_generation_prompt" not in plain
    await made.stop()


async def test_length_is_told(server: Server) -> None:
    assert (await collect(make(server.url), ask("length")))[-1].finish_reason == "length"


async def test_nobody_listening_and_no_such_host_are_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    for address in (url, "http://no-such-host.invalid:1"):
        error = await fails(make(address), ask("speak"))
        assert error.failure_class == FailureClass.BACKEND_UNREACHABLE
        engine = make(address)
        await engine.start()  # a server that is not up yet is no error
        health = await engine.health()
        assert not health.ok
        assert "cannot be reached" in health.reason
        await engine.stop()


async def test_start_names_the_models_that_there_are(server: Server) -> None:
    engine = make(server.url, model="large")
    with pytest.raises(EngineError, match="it serves small") as caught:
        await engine.start()
    assert caught.value.failure_class == FailureClass.BACKEND_REFUSED
    await engine.stop()


async def test_health_is_the_servers(server: Server) -> None:
    engine = make(server.url)
    assert (await engine.health()).ok
    server.healthy = False
    health = await engine.health()
    assert not health.ok
    assert "503" in health.reason
    await engine.stop()


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_giving_up_hangs_up_on_the_server(server: Server, how: str) -> None:
    engine = make(server.url)
    stream = engine.generate(ask("hang"))
    assert (await anext(stream)).text == "some"
    assert engine.stats().running == 1
    if how == "close":
        await stream.aclose()  # type: ignore[attr-defined]
    else:
        following = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        following.cancel()
        await asyncio.wait({following})
    await asyncio.wait_for(server.hung_up.wait(), 10)
    assert engine.stats().running == 0
    await engine.stop()


def test_unknown_engine_args_are_rejected() -> None:
    with pytest.raises(ConfigError, match="grammer"):
        OpenAIEngine("http://127.0.0.1:1", "m", engine_args={"grammer": "none"})
