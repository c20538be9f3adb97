"""An engine at a URL: any server that speaks the OpenAI chat completions API and streams.

One HTTP connection per request; closing it is how a request is aborted, which servers take as the
client's wish to stop. The stream is read as bytes and split at line feeds only, because the JSON
inside may hold other characters that text tools take for line ends. A stream counts as ended only
after a finish reason; one that breaks off before is an error, never a short answer.

Every error carries a class: nobody listens or the connection broke (`backend_unreachable`), the
server says no (`backend_refused`, with its own words), the prompt does not fit
(`context_overflow`). The key is sent in one header and appears in no message.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Literal, cast

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from actors.engines.http_status import class_of_status
from actors.engines.pump import Pump
from actors.engines.rate import TokenRate
from familiar.engine import Delta, EngineHealth, EngineStats, FinishReason, GenerateRequest
from familiar.errors import ConfigError, EngineError, FailureClass

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "abort": "abort",
    "error": "error",
    "content_filter": "error",
}
_OVERFLOW = (
    "context_length_exceeded",
    "maximum context length",
    "exceed_context_size",
    "exceeds the available context",
    "context window",
    "longer than the maximum model length",
)
CONTINUE = "Continue exactly where the text above stops; repeat nothing."
_LONGEST_LINE = 16 << 20
_LONGEST_MESSAGE = 500


class OpenAIArgs(BaseModel):
    """`engine_args` of a pool with engine openai.

    `grammar` says how the server takes an output grammar: `response_format` (JSON schemas only),
    `structured_outputs` (vLLM), `guided` (older vLLM), or not at all (`none`); what it cannot take
    is checked after decoding instead. `continuation` says how it goes on from an unfinished answer:
    with vLLM's fields (`continue_final_message`), or by a `message` that asks for it, which works
    everywhere and less exactly. `body` is added to every request as it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    grammar: Literal["response_format", "structured_outputs", "guided", "none"] = "response_format"
    continuation: Literal["continue_final_message", "message"] = "message"
    body: dict[str, JsonValue] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    connect_timeout_s: float = Field(10.0, gt=0)


class OpenAIEngine:
    """The client of one server. `model` is the server's name for it."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        engine_args: Mapping[str, JsonValue] | None = None,
        replica_id: str = "openai",
    ) -> None:
        try:
            self._args = OpenAIArgs.model_validate(dict(engine_args or {}))
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(
                f"engine_args of {replica_id}: {'.'.join(map(str, first['loc']))}: {first['msg']}.",
                where="engine_args",
            ) from error
        root = url.rstrip("/")
        self._root = root.removesuffix("/v1")
        self._model = model
        self._key = api_key
        self._replica_id = replica_id
        self._client: httpx.AsyncClient | None = None
        self._pumps: dict[str, Pump[Delta]] = {}
        self._rate = TokenRate()
        self._answering = 0
        self._prompt_tokens = self._output_tokens = self._cached_tokens = 0

    # -- the engine protocol ---------------------------------------------------------------------

    @property
    def owned(self) -> bool:
        return False

    async def start(self) -> None:
        """See that the server is there and knows the model, where it tells."""
        response = await self._get("/v1/models")
        if response.status_code in (404, 405):
            return  # a server without that list; the first request will tell
        if response.is_error:
            raise self._refusal(response.status_code, response.content, "start")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            names = [str(entry["id"]) for entry in response.json()["data"]]
            if names and self._model not in names:
                raise EngineError(
                    f"{self._root} does not serve the model {self._model}; it serves "
                    f"{', '.join(names[:8])}.",
                    failure_class=FailureClass.BACKEND_REFUSED,
                    evidence={
                        "url": self._root,
                        "model": self._model,
                        "serves": ", ".join(names[:8]),
                    },
                    remedy="Put one of these names into the pool's `model`.",
                )

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Delta]:
        pump = Pump(self._stream(request))
        self._pumps[request.request_id] = pump
        try:
            while deltas := await pump.batch():
                for delta in deltas:
                    self._output_tokens += delta.tokens
                    if delta.tokens > 0:
                        self._rate.add(delta.tokens, time.monotonic())
                    yield delta
            if pump.cancelled:
                yield Delta(finish_reason="abort")
        finally:
            self._pumps.pop(request.request_id, None)
            await pump.close()

    async def abort(self, request_id: str) -> None:
        pump = self._pumps.get(request_id)
        if pump is not None:
            pump.cancel()

    async def health(self) -> EngineHealth:
        try:
            response = await self._get("/health")
            if response.status_code in (404, 405):
                response = await self._get("/v1/models")
        except EngineError as error:
            return EngineHealth(ok=False, reason=str(error))
        if response.is_error:
            return EngineHealth(
                ok=False, reason=f"{self._root} answered {response.status_code} to a health check"
            )
        return EngineHealth(ok=True)

    def stats(self) -> EngineStats:
        return EngineStats(
            running=self._answering,
            waiting=max(len(self._pumps) - self._answering, 0),
            tokens_per_s=self._rate.per_second(time.monotonic()),
            prompt_tokens=self._prompt_tokens,
            output_tokens=self._output_tokens,
            cached_tokens=self._cached_tokens,
        )

    async def stop(self) -> None:
        for pump in self._pumps.values():
            pump.cancel()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # -- one request -----------------------------------------------------------------------------

    async def _stream(self, request: GenerateRequest) -> AsyncIterator[Delta]:
        answer = _Answer()
        answering = False
        url = f"{self._root}/v1/chat/completions"
        try:
            async with self._http().stream("POST", url, json=self._body(request)) as response:
                if response.is_error:
                    said = await response.aread()
                    raise self._refusal(response.status_code, said, request.request_id)
                self._answering += 1
                answering = True
                async for line in _lines(response.aiter_bytes()):
                    if not line.startswith(b"data:"):
                        continue
                    data = line[5:].strip()
                    if data == b"[DONE]":
                        break
                    delta = answer.read(self._event(data, request.request_id))
                    if delta is not None:
                        yield delta
        except httpx.HTTPError as error:
            raise self._unreachable(error, request.request_id, answer.tokens) from error
        finally:
            self._answering -= answering
            self._prompt_tokens += answer.prompt_tokens
            self._cached_tokens += answer.cached_tokens
        if answer.finish is None:
            raise EngineError(
                f"{self._root} closed the stream of {request.request_id} after {answer.tokens} "
                "tokens without a finish reason.",
                evidence={"url": self._root, "tokens": answer.tokens, "cut": True},
            )
        yield answer.last()

    def _event(self, data: bytes, request_id: str) -> Mapping[str, object]:
        try:
            event = json.loads(data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise EngineError(
                f"{self._root} sent a line that is not a JSON object in the stream of "
                f"{request_id}: {self._clean(data[:120])}",
                evidence={"url": self._root},
            )
        if event.get("error"):
            error = event["error"]
            code = error.get("code") if isinstance(error, dict) else None
            raise self._refusal(code if isinstance(code, int) else 500, data, request_id)
        return cast("Mapping[str, object]", event)

    def _body(self, request: GenerateRequest) -> dict[str, JsonValue]:
        sampling = request.sampling
        body: dict[str, JsonValue] = {
            "model": self._model,
            "messages": self._messages(request),
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        # Servers that do not know these refuse the request, so they are sent only when set.
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.top_k is not None:
            body["top_k"] = sampling.top_k
        if sampling.repetition_penalty is not None:
            body["repetition_penalty"] = sampling.repetition_penalty
        return body | self._continuation(request) | self._grammar(request) | self._args.body

    def _continuation(self, request: GenerateRequest) -> dict[str, JsonValue]:
        if not request.continue_final or self._args.continuation == "message":
            return {}
        return {"continue_final_message": True, "add_generation_prompt": False}

    def _messages(self, request: GenerateRequest) -> list[JsonValue]:
        messages: list[JsonValue] = [
            {"role": m.role, "content": m.content} for m in request.messages
        ]
        if request.continue_final and self._args.continuation == "message":
            messages.append({"role": "user", "content": CONTINUE})
        return messages

    def _grammar(self, request: GenerateRequest) -> dict[str, JsonValue]:
        grammar, way = request.grammar, self._args.grammar
        if grammar is None or way == "none":
            return {}
        if way == "response_format":
            if grammar.kind != "json":
                return {}
            schema = {"name": "answer", "schema": json.loads(grammar.text), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        name = {"json": "json", "ebnf": "grammar", "regex": "regex"}[grammar.kind]
        value: JsonValue = json.loads(grammar.text) if grammar.kind == "json" else grammar.text
        if way == "guided":
            return {f"guided_{name}": value}
        return {"structured_outputs": {name: value}}

    # -- the server ------------------------------------------------------------------------------

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            headers = dict(self._args.headers)
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._client = httpx.AsyncClient(
                headers=headers,
                # Silence is judged by the call's own deadlines, so reading has none here.
                timeout=httpx.Timeout(30.0, connect=self._args.connect_timeout_s, read=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
                trust_env=False,
            )
        return self._client

    async def _get(self, path: str) -> httpx.Response:
        try:
            async with asyncio.timeout(self._args.connect_timeout_s + 5.0):
                return await self._http().get(f"{self._root}{path}")
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unreachable(error, "a health check", 0) from error

    def _unreachable(self, error: Exception, what: str, tokens: int) -> EngineError:
        reason = self._clean(str(error).encode()) or type(error).__name__
        return EngineError(
            f"{self._root} cannot be reached for {what}: {reason}.",
            evidence={"url": self._root, "error": type(error).__name__, "tokens": tokens},
            remedy="See that the server runs and that the pool's url is right.",
        )

    def _refusal(self, status: int, body: bytes, what: str) -> EngineError:
        said = self._clean(_server_message(body))
        lowered = said.lower() + body[:4096].decode("utf-8", "replace").lower()
        if status < 500 and any(mark in lowered for mark in _OVERFLOW):
            kind = FailureClass.CONTEXT_OVERFLOW
        else:
            kind = class_of_status(status)
        return EngineError(
            f"{self._root} answered {status} to {what}: {said}",
            failure_class=kind,
            evidence={"url": self._root, "status": status, "model": self._model},
        )

    def _clean(self, text: bytes) -> str:
        """A server's words on one line, without the key in case it repeats it."""
        words = " ".join(text.decode("utf-8", "replace").split())
        if self._key:
            words = words.replace(self._key, "[key]")
        return words[:_LONGEST_MESSAGE]


class _Answer:
    """What has come of one stream."""

    def __init__(self) -> None:
        self.finish: FinishReason | None = None
        self.tokens = self.prompt_tokens = self.cached_tokens = 0
        self._exact: int | None = None

    def read(self, event: Mapping[str, object]) -> Delta | None:
        """The text of one event. Servers send about one token in each; the usage at the end puts
        the count right."""
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"))
            self._exact = _count(usage.get("completion_tokens"))
            details = usage.get("prompt_tokens_details")
            if isinstance(details, dict):
                self.cached_tokens = _count(details.get("cached_tokens"))
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return None
        reason = choices[0].get("finish_reason")
        if isinstance(reason, str):
            self.finish = _FINISH.get(reason, "stop")
        delta = choices[0].get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        if not isinstance(text, str) or not text:
            return None
        self.tokens += 1
        return Delta(text, 1)

    def last(self) -> Delta:
        off = 0 if self._exact is None else self._exact - self.tokens
        return Delta("", off, self.finish, self.prompt_tokens, self.cached_tokens)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _server_message(body: bytes) -> bytes:
    """What the server says in its error body, whichever of the usual forms that has."""
    with contextlib.suppress(ValueError):
        data = json.loads(body)
        for _ in range(3):
            if not isinstance(data, dict):
                break
            data = data.get("error") or data.get("message") or data.get("detail")
        if isinstance(data, str):
            return data.encode("utf-8", "replace")
    return body


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of a byte stream; the rest after the last line feed is a line too."""
    rest = b""
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                yield line
        if len(rest) > _LONGEST_LINE:
            raise httpx.RemoteProtocolError(f"a line of more than {_LONGEST_LINE} bytes")
    if rest:
        yield rest
