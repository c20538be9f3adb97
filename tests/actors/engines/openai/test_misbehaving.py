"""Servers as they are: each scenario against the engine, alone and many at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from actors.engines.openai import OpenAIEngine
from familiar.engine import GenerateRequest, Message
from familiar.errors import EngineError
from familiar.secret import Secret
from tests.actors.engines.openai.misbehaving import SCENARIOS, MisbehavingServer

KEY = "sk-misbehaving-0123456789"
REQUEST = GenerateRequest("r/c/1", (Message("system", "Be brief."), Message("user", "Write.")))


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    async with MisbehavingServer().run() as running:
        yield running


async def play(url: str, name: str, user: str = "", patience_s: float = 2.0) -> None:
    """One call of a scenario, held to its expectation."""
    expected = SCENARIOS[name][1]
    args = {"patience_s": patience_s, "body": {"user": user}} | expected.engine_args
    engine = OpenAIEngine(url, name, api_key=Secret(KEY + "\r\n"), engine_args=args)
    deltas = []
    error: EngineError | None = None
    try:
        await engine.start()
        async with asyncio.timeout(120):
            async for delta in engine.generate(REQUEST):
                deltas.append(delta)
    except EngineError as raised:
        error = raised
    finally:
        await engine.stop()
    "".join(d.text + d.reasoning + str(d.waiting or "") for d in deltas).encode()
    if error is not None:
        assert expected.failure is not None, f"{name}: {error}"
        assert error.failure_class == expected.failure
        assert expected.words in str(error)
        assert KEY not in f"{error}{error.evidence}{error!r}"
        assert error.evidence.items() >= expected.evidence.items()
        assert error.__cause__ is None, "a library's exception may hold the key"
    else:
        assert expected.failure is None, f"{name} gave {deltas}"
        assert "".join(d.text for d in deltas) == expected.text
        assert "".join(d.reasoning for d in deltas) == expected.reasoning
        assert deltas[-1].finish_reason == expected.finish
        assert sum(d.tokens for d in deltas) >= 0
        assert all(d.tokens for d in deltas if d.reasoning), "reasoning is progress"
        assert any(d.waiting for d in deltas) == expected.waits


def test_there_are_scenarios_enough() -> None:
    assert len(SCENARIOS) == 121


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_server_that_misbehaves(server: MisbehavingServer, name: str) -> None:
    await play(server.url, name)


async def draw(url: str, seed: int, calls: int, patience_s: float) -> None:
    names = random.Random(seed).choices(list(SCENARIOS), k=calls)
    await asyncio.gather(
        *(play(url, name, f"{seed}/{n}", patience_s) for n, name in enumerate(names))
    )


@pytest.mark.parametrize("seed", range(3))
async def test_many_at_once(server: MisbehavingServer, seed: int) -> None:
    await draw(server.url, seed, 40, 10.0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
async def test_200_at_once(server: MisbehavingServer, seed: int) -> None:
    await draw(server.url, seed, 200, 30.0)
