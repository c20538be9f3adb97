"""A server at a URL that is late, silent, loading or gone for a while: calls wait, and are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from actors.engines.openai import OpenAIEngine
from actors.engines.openai.probe import probe_server
from familiar.config.schema import PoolConfig, ReplicaConfig, ThinkingConfig
from familiar.engine import Delta, GenerateRequest, Message
from familiar.errors import ConfigError, EngineError, FailureClass
from familiar.secret import Secret

REQUEST = GenerateRequest("r/c/1", (Message("user", "Write."),))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Fake:
    """A server whose routes answer what a test sets."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.health: tuple[int, str] | None = (200, "")
        self.models: tuple[int, object] = (200, {"data": [{"id": "m"}]})
        self.pause_s = 0.0
        self.loading = False
        self.bodies: list[dict[str, object]] = []
        self.asked = asyncio.Event()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        if self.health is None:
            await asyncio.sleep(60)
        assert self.health is not None
        return web.Response(status=self.health[0], text=self.health[1])

    async def _models(self, request: web.Request) -> web.Response:
        status, data = self.models
        return web.Response(status=status, text=json.dumps(data))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.asked.set()
        if self.loading:
            return web.json_response({"error": {"message": "Loading model"}}, status=503)
        await asyncio.sleep(self.pause_s)
        choice = {"message": {"content": "Done."}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})


def make(fake: Fake, **engine_args: object) -> OpenAIEngine:
    args = {"patience_s": 20, "connect_timeout_s": 0.5} | engine_args
    return OpenAIEngine(fake.url, "m", engine_args=args)  # type: ignore[arg-type]


async def collect(engine: OpenAIEngine) -> list[Delta]:
    return [delta async for delta in engine.generate(REQUEST)]


async def test_a_call_waits_for_a_server_that_comes_up_later_and_says_why() -> None:
    fake = Fake()
    engine = make(fake)
    await engine.start()
    call = asyncio.create_task(collect(engine))
    await asyncio.sleep(1.0)
    assert not call.done()
    async with fake.up():
        deltas = await asyncio.wait_for(call, 15)
        waited_for = deltas[0].waiting
        assert waited_for is not None
        assert "cannot be reached" in waited_for.message
        assert waited_for.evidence["transient"] is True
        assert "".join(d.text for d in deltas) == "Done."
        await engine.stop()


async def test_calls_wait_while_the_model_loads_and_health_says_busy() -> None:
    fake = Fake()
    fake.loading, fake.health = True, (503, '{"error": {"message": "Loading model"}}')
    async with fake.up():
        engine = make(fake)
        await engine.start()
        health = await engine.health()
        assert not health.ok
        assert "Loading model" in health.reason
        call = asyncio.create_task(collect(engine))
        await asyncio.sleep(0.8)
        fake.loading, fake.health = False, (200, "")
        assert (await asyncio.wait_for(call, 15))[-1].finish_reason == "stop"
        assert (await engine.health()).ok
        assert 2 <= len(fake.bodies) < 10, "attempts have time between them"
        await engine.stop()


async def test_a_silent_health_route_is_no_reason_while_the_server_works() -> None:
    fake = Fake()
    fake.health, fake.pause_s = None, 8.0
    async with fake.up():
        engine = make(fake)
        call = asyncio.create_task(collect(engine))
        await fake.asked.wait()
        health = await engine.health()
        assert health.ok, health.reason
        assert (await call)[-1].finish_reason == "stop"
        idle = await engine.health()
        assert not idle.ok
        assert "does not answer a health check" in idle.reason
        await engine.stop()


async def test_patience_ends_with_the_true_cause() -> None:
    engine = make(Fake(), patience_s=1.5)
    with pytest.raises(EngineError, match="cannot be reached") as caught:
        await collect(engine)
    assert caught.value.failure_class == FailureClass.BACKEND_UNREACHABLE
    assert caught.value.evidence["transient"] is True
    await engine.stop()


async def test_a_call_that_is_given_up_ends_its_wait() -> None:
    engine = make(Fake())
    call = asyncio.create_task(collect(engine))
    await asyncio.sleep(0.3)
    assert engine.stats().waiting == 1
    call.cancel()
    await asyncio.wait({call}, timeout=5)
    assert call.cancelled()
    assert engine.stats().waiting == 0
    await engine.stop()


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        ({"data": [{"id": "llama3:latest"}]}, "llama3"),
        ({"data": [{"id": "llama3:8b"}]}, "llama3:8b"),
        ({"data": [{"id": "Qwen/Qwen3-8B"}]}, "qwen3-8b"),
        ({"data": [{"id": "/models/foo.gguf", "owned_by": "llamacpp"}]}, "anything"),
        ({"models": [{"name": "m"}]}, "m"),
        ({"data": None}, "m"),
        ([], "m"),
    ],
)
async def test_model_names_are_compared_as_servers_mean_them(served: object, asked: str) -> None:
    fake = Fake()
    fake.models = (200, served)
    async with fake.up():
        engine = OpenAIEngine(fake.url, asked)
        await engine.start()
        await engine.stop()


async def test_another_size_of_a_model_is_another_model() -> None:
    fake = Fake()
    fake.models = (200, {"data": [{"id": "llama3:8b"}]})
    async with fake.up():
        engine = OpenAIEngine(fake.url, "llama3:70b")
        with pytest.raises(EngineError, match="it serves llama3:8b"):
            await engine.start()
        await engine.stop()


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        (
            ThinkingConfig(enabled=False),
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
        ),
        (ThinkingConfig(effort="low"), {"reasoning_effort": "low"}),
        (ThinkingConfig(budget_tokens=64), {"thinking_token_budget": 64}),
        (ThinkingConfig(template_kwargs={"x": 1}), {"chat_template_kwargs": {"x": 1}}),
    ],
)
async def test_a_pool_says_how_thinking_is_switched(
    thinking: ThinkingConfig, expected: dict[str, object]
) -> None:
    fake = Fake()
    async with fake.up():
        engine = OpenAIEngine(fake.url, "m", thinking=thinking)
        await collect(engine)
        assert fake.bodies[0] | expected == fake.bodies[0]
        await engine.stop()


def test_a_key_that_cannot_be_sent_is_rejected_without_its_value() -> None:
    for key in ("sk-line\nend", "sk-ünsendable"):
        with pytest.raises(ConfigError) as caught:
            OpenAIEngine("http://127.0.0.1:1", "m", api_key=Secret(key))
        assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://user:pass-word@127.0.0.1:1", "127.0.0.1:8001", "ftp://x"])
def test_a_url_with_credentials_or_without_a_scheme_is_rejected(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIEngine(url, "m")
    assert "pass-word" not in str(caught.value)


def pool(fake: Fake, **more: object) -> PoolConfig:
    settings = {"engine": "openai", "model": "m", "replicas": [{"url": fake.url}]} | more
    return PoolConfig.model_validate(settings)


async def test_a_probe_makes_one_real_call_and_reads_the_context_length() -> None:
    fake = Fake()
    fake.models = (200, {"data": [{"id": "m", "max_model_len": 2048}]})
    async with fake.up():
        found = await probe_server(pool(fake), ReplicaConfig(url=fake.url))
        assert (found.reached, found.answered, found.context_length) == (True, True, 2048)
        assert "serves a context of 2048 tokens and the pool says 4096" in found.problems[0]
        fake.models = (404, "")
        found = await probe_server(pool(fake), ReplicaConfig(url=fake.url))
        assert found.answered
        assert not found.problems
        fake.loading = True
        found = await probe_server(pool(fake), ReplicaConfig(url=fake.url))
        assert not found.answered
        assert "Loading model" in found.notes[-1]
    found = await probe_server(pool(fake), ReplicaConfig(url=fake.url))
    assert not found.reached
    assert "cannot be reached" in found.notes[0]


async def test_a_probe_names_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    fake = Fake()
    found = await probe_server(pool(fake, api_key_env="NO_SUCH_KEY"), ReplicaConfig(url=fake.url))
    assert "NO_SUCH_KEY is not set" in found.problems[0]
