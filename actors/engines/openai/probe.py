"""A look at a server before work goes there: its models, its context length, one real tiny call.

A health route tells little: the calls may still be rejected for a field, a name or a key, and many
servers load a model with a shorter context than the model has. Nothing here raises for a server;
every finding is a sentence for a person.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from actors.engines.build import build_engine
from actors.engines.openai.answer import count
from actors.engines.openai.engine import OpenAIEngine
from actors.engines.openai.server import ServedModel, Server, find_model, served_models
from actors.engines.openai.sse import read_object
from familiar.config.schema import PoolConfig, ReplicaConfig
from familiar.engine import GenerateRequest, Message, Sampling
from familiar.errors import EngineError, FamiliarError

CALL_S = 60.0
_TOKENS = 16
_ASKED = "Reply with one word: ready."
_INFO = (
    ("/props", ("default_generation_settings", "n_ctx")),  # llama.cpp
    ("/info", ("max_total_tokens",)),  # TGI
)


@dataclass(frozen=True, slots=True)
class ServerFindings:
    """`context_length` is 0 where the server does not say it. `problems` keep calls from working,
    `notes` may pass or do no harm."""

    reached: bool = False
    served_model: str = ""
    context_length: int = 0
    answered: bool = False
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def probe_server(pool: PoolConfig, replica: ReplicaConfig) -> ServerFindings:
    """Ask the server of one replica. Takes `CALL_S` and a little more at the most."""
    patient = pool.model_copy(update={"engine_args": {**pool.engine_args, "patience_s": 0}})
    try:
        engine = build_engine(patient, replica, replica_id=replica.url or "a replica")
    except FamiliarError as error:
        return ServerFindings(problems=(str(error),))
    assert isinstance(engine, OpenAIEngine)
    try:
        return await _findings(engine, pool)
    finally:
        await engine.stop()


async def _findings(engine: OpenAIEngine, pool: PoolConfig) -> ServerFindings:
    problems: list[str] = []
    notes: list[str] = []
    server = engine.server
    try:
        response = await server.get(f"{server.api}/models")
    except (httpx.HTTPError, TimeoutError) as error:
        return ServerFindings(notes=(str(server.unreachable(error)),))
    except FamiliarError as error:
        return ServerFindings(reached=True, problems=(str(error),))
    models = [] if response.is_error else served_models(response.content)
    model = find_model(pool.model, models)
    try:
        await engine.start()
    except EngineError as error:
        problems.append(str(error))
    if not models:
        notes.append(f"{server.root} has no list of models ({response.status_code}).")
    length = await _context_length(server, model)
    if 0 < length < pool.context_length:
        problems.append(
            f"{server.root} serves a context of {length} tokens and the pool says "
            f"{pool.context_length}. Set context_length: {length}, or start the server with more."
        )
    answered = False
    try:
        async with asyncio.timeout(CALL_S):
            answered = await _call(engine, notes)
    except TimeoutError:
        notes.append(f"{server.root} did not answer a call of a few tokens in {CALL_S:.0f} s.")
    except EngineError as error:
        passing = bool(error.evidence.get("transient"))
        if str(error) not in problems:
            (notes if passing else problems).append(str(error))
    return ServerFindings(
        True, model.name if model else "", length, answered, tuple(problems), tuple(notes)
    )


async def _call(engine: OpenAIEngine, notes: list[str]) -> bool:
    request = GenerateRequest(
        "doctor/probe/1", (Message("user", _ASKED),), Sampling(temperature=0.0, max_tokens=_TOKENS)
    )
    text = reasoning = ""
    async for delta in engine.generate(request):
        text += delta.text
        reasoning += delta.reasoning
    if not text and reasoning:
        notes.append(
            f"{engine.server.root} spent a call of {_TOKENS} tokens on reasoning; the pool's "
            "`thinking` can switch it off or bound it."
        )
    return bool(text or reasoning)


async def _context_length(server: Server, model: ServedModel | None) -> int:
    if model is not None and model.context_length:
        return model.context_length
    for path, keys in _INFO:
        try:
            response = await server.get(server.root + path)
        except (httpx.HTTPError, TimeoutError, FamiliarError):
            return 0
        value: object = None if response.is_error else read_object(response.content)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if length := count(value):
            return length
    return 0
