"""An engine at a URL: any server that speaks the OpenAI chat completions API.

One HTTP connection per request; closing it is how a request is aborted. The server is not ours: it
may start after us, load a model, restart, limit the rate, or leave its health route silent while it
works. So `start` fails only for what time does not cure, `health` never doubts a server that is
sending tokens, and a call waits for its server before the first token (`Patience`), telling why.
After the first token nothing is repeated here.

Every error carries a class: the connection failed or broke (`backend_unreachable`, with `transient`
and `retry_after_s` in its evidence), the server rejects the request (`backend_refused`, in its own
words), the prompt does not fit (`context_overflow`). Keys are in no message.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

import httpx
from pydantic import JsonValue, ValidationError

from actors.engines.openai.answer import Answer
from actors.engines.openai.request import OpenAIArgs, request_body
from actors.engines.openai.said import Said, clean, read_said
from actors.engines.openai.server import Server, find_model, served_models
from actors.engines.openai.sse import EventReader, ServerEvent, TooLong
from actors.engines.rate import TokenRate
from familiar.config.schema import ThinkingConfig
from familiar.engine import Delta, EngineHealth, EngineStats, GenerateRequest
from familiar.errors import ConfigError, EngineError, FailureClass
from familiar.secret import Secret

PATIENCE_ALONE_S = 100.0
PATIENCE_S = 5.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
AFTER_FINISH_S = 5.0
"""How long usage is waited for after a finish reason."""
FRESH_S = 30.0
"""Bytes that are younger than this prove that the server is well."""
_NO_ROUTE = frozenset({401, 403, 404, 405, 501})


class OpenAIEngine:
    """The client of one server. `model` is the server's name for it; `alone` says that no other
    replica could take its calls."""

    owned = False

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: Secret | None = None,
        engine_args: Mapping[str, JsonValue] | None = None,
        thinking: ThinkingConfig | None = None,
        replica_id: str = "openai",
        alone: bool = True,
    ) -> None:
        try:
            self._args = OpenAIArgs.model_validate(dict(engine_args or {}))
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(
                f"engine_args of {replica_id}: {'.'.join(map(str, first['loc']))}: {first['msg']}.",
                where="engine_args",
            ) from None
        if api_key is not None and not api_key.sendable:
            raise ConfigError(
                f"The key of {replica_id} has characters that no HTTP header can carry.",
                where="api_key_env",
                remedy="Look for line ends, quotes or other alphabets in that variable.",
            )
        self.server = Server(url, self._args, api_key, replica_id)
        self._model = model
        self._thinking = thinking
        patience = self._args.patience_s
        default = PATIENCE_ALONE_S if alone else PATIENCE_S
        self._patience_s = default if patience is None else patience
        self._rate = TokenRate()
        self._requests = self._answering = self._working = 0
        self._heard_at = float("-inf")
        self._model_known = not self._args.check_model
        self._prompt_tokens = self._output_tokens = self._cached_tokens = 0

    def __repr__(self) -> str:
        return f"OpenAIEngine({self.server.root!r}, {self._model!r})"

    # -- the engine protocol ---------------------------------------------------------------------

    async def start(self) -> None:
        """Look for the model in the server's list. Raises EngineError only for what time does not
        cure: another model, a rejected key, a redirect to another host."""
        try:
            await self._check_model()
        except EngineError as error:
            if error.failure_class != FailureClass.BACKEND_UNREACHABLE:
                raise

    async def health(self) -> EngineHealth:
        """A server that sends is well, and is not asked: many have no thread left for that."""
        if self._answering and time.monotonic() - self._heard_at < FRESH_S:
            return EngineHealth(ok=True)
        server = self.server
        path = "/health" if self._args.health_path is None else self._args.health_path
        try:
            response = await server.get(server.root + path)
            if response.status_code in _NO_ROUTE and self._args.health_path is None:
                response = await server.get(f"{server.api}/models")
                if response.status_code in (404, 405, 501):
                    return EngineHealth(ok=True)  # it speaks HTTP and has neither route
            if response.is_error:
                raise server.error(response.status_code, response.content, response.headers)
            if not self._model_known:
                await self._check_model()
        except (httpx.ReadTimeout, httpx.PoolTimeout, TimeoutError):
            if self._working:
                return EngineHealth(ok=True, reason=f"{server.root} works on {self._working} calls")
            return EngineHealth(ok=False, reason=f"{server.root} does not answer a health check")
        except httpx.HTTPError as error:
            return EngineHealth(ok=False, reason=str(server.unreachable(error)))
        except EngineError as error:
            return EngineHealth(ok=False, reason=str(error))
        return EngineHealth(ok=True)

    def stats(self) -> EngineStats:
        return EngineStats(
            running=self._answering,
            waiting=self._requests - self._answering,
            tokens_per_s=self._rate.per_second(time.monotonic()),
            prompt_tokens=self._prompt_tokens,
            output_tokens=self._output_tokens,
            cached_tokens=self._cached_tokens,
        )

    async def stop(self) -> None:
        await self.server.close()

    # -- the server ------------------------------------------------------------------------------

    async def _check_model(self) -> None:
        server = self.server
        try:
            response = await server.get(f"{server.api}/models")
        except (httpx.HTTPError, TimeoutError) as error:
            raise server.unreachable(error) from None
        if response.status_code in (401, 403):
            raise server.error(response.status_code, response.content, response.headers)
        if response.is_error:
            return  # no list, or not now; the first request will tell
        models = served_models(response.content) if self._args.check_model else []
        if models and find_model(self._model, models) is None:
            names = clean(", ".join(model.name[:80] for model in models[:8]), server.secrets)
            raise EngineError(
                f"{server.root} does not serve the model {self._model}; it serves {names}.",
                failure_class=FailureClass.BACKEND_REFUSED,
                evidence={"url": server.root, "model": self._model, "serves": names},
                remedy="Put one of these names into the pool's `model`, or set "
                "engine_args.check_model: false.",
            )
        self._model_known = True

    # -- one request -----------------------------------------------------------------------------

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """The answer, after as many attempts as it takes to get its first token."""
        body = request_body(request, self._model, self._args, self._thinking)
        patience = Patience(self._patience_s)
        self._requests += 1
        try:
            while True:
                answer = Answer()
                try:
                    # Closed here and now, so that the server is hung up on at once.
                    async with contextlib.aclosing(self._attempt(body, answer)) as deltas:
                        async for delta in deltas:
                            self._count(delta)
                            yield delta
                    return
                except EngineError as error:
                    error.evidence |= {"model": self._model}
                    pause = None if answer.tokens else patience.pause_s(error)
                    if pause is None:
                        if (waited := patience.waited_s) >= 1.0:
                            error.evidence["waited_s"] = round(waited, 1)
                        raise
                    why = error
                yield Delta(waiting=why)
                await asyncio.sleep(pause)
        finally:
            self._requests -= 1

    def _count(self, delta: Delta) -> None:
        self._output_tokens += delta.tokens
        if delta.tokens > 0:
            self._rate.add(delta.tokens, time.monotonic())

    async def _attempt(
        self, body: dict[str, JsonValue], answer: Answer
    ) -> AsyncGenerator[Delta, None]:
        answering = False
        reader = EventReader()
        self._working += 1
        try:
            async with self.server.chat(body) as response:
                self._answering += 1
                answering = True
                async for event in self._events(response, reader, answer):
                    if event.done:
                        answer.done = True
                        break
                    if event.json is None and not answer.complete:
                        raise self._garbage(event, answer)
                    self._raise_error_in(event, answer)
                    delta = answer.read(event.json or {})
                    if delta is not None:
                        yield delta
        except (httpx.HTTPError, httpx.InvalidURL, TooLong, TimeoutError) as error:
            if not answer.complete:
                raise self.server.unreachable(error, answer.tokens) from None
        finally:
            self._working -= 1
            self._answering -= answering
            self._prompt_tokens += answer.prompt_tokens
            self._cached_tokens += answer.cached_tokens
        self._judge(answer, reader)
        yield answer.last()

    async def _events(
        self, response: httpx.Response, reader: EventReader, answer: Answer
    ) -> AsyncIterator[ServerEvent]:
        """Events until the stream ends; once the answer is complete, not for long."""
        chunks = response.aiter_bytes()
        deadline: float | None = None
        while True:
            if deadline is None and answer.complete:
                deadline = asyncio.get_running_loop().time() + AFTER_FINISH_S
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            self._heard_at = time.monotonic()
            for event in reader.feed(chunk):
                yield event
        for event in reader.end():
            yield event

    # -- its end ---------------------------------------------------------------------------------

    def _raise_error_in(self, event: ServerEvent, answer: Answer) -> None:
        """An error that comes inside a stream with status 200."""
        data = event.json or {}
        told = bool(data.get("error")) or data.get("object") == "error" or event.name == "error"
        if answer.complete or not (told or _is_an_error_without_the_name(data)):
            return
        said = read_said(event.data, None, self.server.secrets)
        message = f"{self.server.root} ends the stream with an error: {said.words}"
        error = self.server.failure(said.code or _code_of(said), said, message)
        if answer.tokens:
            error.evidence |= {"tokens": answer.tokens, "cut": True}
        raise error

    def _garbage(self, event: ServerEvent, answer: Answer) -> EngineError:
        words = clean(event.data[:400].decode("utf-8", "replace"), self.server.secrets)
        if event.name == "error":
            said = read_said(event.data, None, self.server.secrets)
            return self.server.failure(
                _code_of(said), said, f"{self.server.root} ends the stream with an error: {words}"
            )
        return EngineError(
            f"{self.server.root} sent data that is not a JSON object: {words}",
            evidence={"url": self.server.root, "tokens": answer.tokens},
        )

    def _judge(self, answer: Answer, reader: EventReader) -> None:
        """Raises when the stream's end is none, or its content no answer."""
        root = self.server.root
        evidence: dict[str, object] = {"url": root, "tokens": answer.tokens}
        if answer.finish == "abort":
            raise EngineError(
                f"{root} aborted the answer after {answer.tokens} tokens: {answer.odd_finish}.",
                evidence={**evidence, "cut": True, "transient": True},
            )
        if not answer.complete:
            other = clean(reader.other.decode("utf-8", "replace"), self.server.secrets)
            odd = f", with {answer.odd_finish} in its place" if answer.odd_finish else ""
            raise EngineError(
                f"{root} closed the stream after {answer.tokens} tokens without a finish reason"
                f"{odd}{f': {other}' if other else '.'}",
                evidence={**evidence, "cut": True},
            )
        if answer.filtered:
            raise EngineError(
                f"{root} ended the answer after {answer.tokens} tokens by its filter: "
                f"{clean(answer.filtered)}.",
                failure_class=FailureClass.BACKEND_REFUSED,
                evidence={**evidence, "filter": answer.filtered},
                remedy="Word the goal differently, or use a server without that filter.",
            )
        if answer.wrote:
            return
        if answer.calls_tool:
            tool = clean(answer.tool) or "without a name"
            raise EngineError(
                f"{root} answered with a call of the tool {tool} and no text; this "
                "request offers no tools.",
                failure_class=FailureClass.OUTPUT_INVALID,
                evidence={**evidence, "tool": tool},
                remedy="See which tool parser and chat template the server uses.",
            )
        if answer.refusal:
            words = clean(answer.refusal, self.server.secrets)
            raise EngineError(
                f"The model at {root} declined: {words}",
                failure_class=FailureClass.BACKEND_REFUSED,
                evidence=evidence,
            )


_NAMES_OF_ERRORS = ("message", "detail", "msg", "errors", "reason", "title", "base_resp")
_CODES = (
    (429, ("rate limit", "rate_limit", "ratelimit", "overload", "too many requests", "exhaust")),
    (503, ("unavailable",)),
    (400, ("invalid_request", "badrequest", "validation")),
)


def _is_an_error_without_the_name(data: Mapping[str, object]) -> bool:
    """A document with words and no answer."""
    return (
        "usage" not in data
        and not data.get("choices")
        and any(
            data.get(name) and isinstance(data[name], str | list | dict)
            for name in _NAMES_OF_ERRORS
        )
    )


def _code_of(said: Said) -> int:
    """A status for an error that came without one."""
    words = said.raw[:2000].lower()
    return next((code for code, marks in _CODES if any(mark in words for mark in marks)), 500)


class Patience:
    """Pauses between the attempts of one request: as long as the server asks for, else growing,
    and scattered, so that many calls do not come back at one moment."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._pauses = 0

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._began

    def pause_s(self, error: EngineError) -> float | None:
        """Seconds until the next attempt; None when waiting cures nothing or takes too long."""
        if not error.evidence.get("transient"):
            return None
        asked = error.evidence.get("retry_after_s")
        grown = min(FIRST_PAUSE_S * 1.6**self._pauses, LONGEST_PAUSE_S)
        pause = max(float(asked), 0.05) if isinstance(asked, int | float) else grown
        pause *= random.uniform(1.0, 1.2)
        self._pauses = min(self._pauses + 1, 20)
        return pause if self.waited_s + pause <= self._seconds else None
