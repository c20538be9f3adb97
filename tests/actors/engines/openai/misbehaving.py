"""A server that misbehaves as real ones do: one program on loopback, a scenario by name.

It speaks HTTP by hand, because most scenarios are things that no framework would send. A scenario
is a coroutine that gets the connection; `expected` says what the engine makes of it: a text, or a
failure class with words that a person must find in the message.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from familiar.engine import FinishReason
from familiar.errors import FailureClass

UNREACHABLE = FailureClass.BACKEND_UNREACHABLE
REFUSED = FailureClass.BACKEND_REFUSED
OVERFLOW = FailureClass.CONTEXT_OVERFLOW
INVALID = FailureClass.OUTPUT_INVALID

TEXT = "# Title\n\n日本 and 💀.\n"


@dataclass(frozen=True)
class Expected:
    text: str = TEXT
    failure: FailureClass | None = None
    words: str = ""
    reasoning: str = ""
    finish: FinishReason = "stop"
    waits: bool = False
    evidence: dict[str, object] = field(default_factory=dict)
    engine_args: dict[str, object] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request and its connection. `nth` counts the requests of its call, the first of which
    came at `since`."""

    body: dict[str, object]
    path: str
    headers: dict[str, str]
    nth: int
    since: float
    writer: asyncio.StreamWriter

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def head(
        self,
        status: str = "200 OK",
        kind: str = "text/event-stream",
        *more: str,
        version: str = "1.1",
    ) -> None:
        lines = (f"HTTP/{version} {status}", f"Content-Type: {kind}", "Connection: close", *more)
        await self.send("\r\n".join(lines) + "\r\n\r\n")

    async def fails(self, status: str, said: object, *more: str) -> None:
        text = said if isinstance(said, str) else json.dumps(said)
        await self.head(status, "application/json", *more)
        await self.send(text)

    async def event(self, data: object, end: str = "\n\n") -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self.send(f"data: {text}{end}")

    async def piece(self, text: object = None, finish: object = None, **delta: object) -> None:
        await self.event(chunk(text, finish, **delta))

    async def whole(self, *, finish: object = "stop", done: bool = True) -> None:
        for text in (TEXT[:5], TEXT[5:]):
            await self.piece(text)
        await self.piece(finish=finish)
        if done:
            await self.event("[DONE]")

    async def reset(self) -> None:
        """End the connection with an RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
        self.writer.transport.abort()


def chunk(text: object = None, finish: object = None, **delta: object) -> dict[str, object]:
    inner = dict(delta) if text is None else {"content": text, **delta}
    return {"choices": [{"index": 0, "delta": inner, "finish_reason": finish}]}


Play = Callable[[Exchange], Awaitable[None]]
SCENARIOS: dict[str, tuple[Play, Expected]] = {}


def scenario(expected: Expected | None = None) -> Callable[[Play], Play]:
    def keep(play: Play) -> Play:
        SCENARIOS[play.__name__] = (play, expected or Expected())  # type: ignore[attr-defined]
        return play

    return keep


def cut(words: str = "without a finish reason") -> Expected:
    return Expected(failure=UNREACHABLE, words=words)


# -- a stream's end --------------------------------------------------------------------------------


@scenario()
async def plain(x: Exchange) -> None:
    await x.head()
    await x.whole()


@scenario()
async def reset_after_finish(x: Exchange) -> None:
    await x.head("200 OK", "text/event-stream", "Transfer-Encoding: chunked")
    text = "".join(f"data: {json.dumps(c)}\n\n" for c in (chunk(TEXT), chunk(finish="stop")))
    await x.send(f"{len(text.encode()):x}\r\n{text}\r\n")
    await asyncio.sleep(0.05)
    await x.reset()


@scenario()
async def done_without_finish(x: Exchange) -> None:
    await x.head()
    await x.piece(TEXT)
    await x.event("[DONE]")


@scenario()
async def error_after_finish(x: Exchange) -> None:
    await x.head()
    await x.whole(done=False)
    await x.event({"error": {"message": "usage failed", "code": 500}})


@scenario()
async def garbage_after_finish(x: Exchange) -> None:
    await x.head()
    await x.whole(done=False)
    await x.event("{oops")


@scenario()
async def open_for_ever_after_done(x: Exchange) -> None:
    await x.head()
    await x.whole()
    await asyncio.sleep(30)


@scenario(cut())
async def empty_finish(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti", "")
    await x.piece("tle", "")


@scenario()
async def empty_finish_then_done(x: Exchange) -> None:
    await x.head()
    await x.piece(TEXT, "")
    await x.event("[DONE]")


@scenario(cut("'dunno' in its place"))
async def unknown_finish(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti", "dunno")


@scenario(cut())
async def finish_of_another_type(x: Exchange) -> None:
    await x.head()
    for odd in (False, True, 0, 1, {"type": "stop"}, ["stop"]):
        await x.piece("t", odd)


@scenario()
async def finish_in_other_words(x: Exchange) -> None:
    await x.head()
    await x.whole(finish="eos_token", done=False)


@scenario(Expected(finish="length"))
async def length_in_other_words(x: Exchange) -> None:
    await x.head()
    await x.whole(finish="MAX_TOKENS")


@scenario(cut("aborted the answer"))
async def aborted_by_server(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti", "abort")


@scenario(cut("broke the stream after 1 tokens"))
async def reset_in_the_middle(x: Exchange) -> None:
    await x.head("200 OK", "text/event-stream", "Transfer-Encoding: chunked")
    text = f"data: {json.dumps(chunk('# Ti'))}\n\n"
    await x.send(f"{len(text):x}\r\n{text}\r\n")
    await asyncio.sleep(0.05)
    await x.reset()


@scenario(cut("without a finish reason"))
async def empty_200(x: Exchange) -> None:
    await x.head()


@scenario(cut("Bad gateway of the office"))
async def page_of_html_as_200(x: Exchange) -> None:
    await x.head("200 OK", "text/html")
    await x.send("<html><body>Bad gateway of the office</body></html>")


# -- what a stream is made of ----------------------------------------------------------------------


@scenario()
async def comments_and_empty_data(x: Exchange) -> None:
    await x.head()
    await x.send(": ping\n\ndata:\n\ndata: \n\n:\n\nevent: ping\ndata: {}\n\nretry: 5\n\n")
    await x.whole()


@scenario()
async def carriage_returns(x: Exchange) -> None:
    await x.head()
    await x.event(chunk(TEXT), "\r\r")
    await x.event(chunk(finish="stop"), "\r\r")
    await x.event("[DONE]", "\r\r")


@scenario()
async def byte_by_byte_with_bom_and_crlf(x: Exchange) -> None:
    await x.head()
    data = f"\ufeffdata: {json.dumps(chunk(TEXT, 'stop'), ensure_ascii=False)}\r\n\r\n"
    for byte in data.encode():
        await x.send(bytes([byte]))
        await asyncio.sleep(0)


@scenario()
async def several_data_lines(x: Exchange) -> None:
    await x.head()
    lines = json.dumps(chunk(TEXT, "stop"), indent=1).splitlines()
    await x.send("".join(f"data: {line}\n" for line in lines) + "\n")


@scenario()
async def no_empty_lines(x: Exchange) -> None:
    await x.head()
    await x.event(chunk(TEXT[:3]), "\n")
    await x.event(chunk(TEXT[3:], "stop"), "\n")
    await x.event("[DONE]", "\n")


@scenario()
async def no_space_and_no_last_line_end(x: Exchange) -> None:
    await x.head()
    await x.send(f"data:{json.dumps(chunk(TEXT, 'stop'))}")


@scenario()
async def one_json_document(x: Exchange) -> None:
    await x.head("200 OK", "application/json")
    message = {"role": "assistant", "content": TEXT, "tool_calls": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    await x.send(json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9}}, indent=2))


@scenario()
async def json_lines(x: Exchange) -> None:
    await x.head("200 OK", "application/x-ndjson")
    for data in (chunk(TEXT[:4]), chunk(TEXT[4:]), chunk(finish="stop")):
        await x.send(json.dumps(data) + "\n")


@scenario()
async def http_1_0(x: Exchange) -> None:
    await x.head(version="1.0")
    await x.whole()


@scenario()
async def content_as_parts(x: Exchange) -> None:
    await x.head()
    await x.piece([{"type": "text", "text": TEXT[:4]}, {"type": "image_url", "image_url": {}}])
    await x.piece([{"type": "text", "text": TEXT[4:]}], "stop")


@scenario()
async def odd_usage(x: Exchange) -> None:
    await x.head()
    odd: tuple[object, ...] = (None, 3.0, "7", {"prompt_tokens": None, "completion_tokens": 3.0},
                               {"prompt_tokens": "12", "prompt_tokens_details": None})  # fmt: skip
    for usage in odd:
        await x.event({**chunk(""), "usage": usage})
    await x.whole(done=False)
    await x.event({"choices": [], "usage": {"prompt_tokens": -4, "completion_tokens": 1e300}})
    await x.event("[DONE]")


@scenario()
async def split_surrogates(x: Exchange) -> None:
    await x.head()
    head, tail = TEXT.split("💀")
    await x.piece(head + "\ud83d")
    await x.piece("\udc80" + tail, "stop")


@scenario(Expected(text="a\ufffdb\ufffd"))
async def lone_surrogates(x: Exchange) -> None:
    await x.head()
    await x.piece("a\udfffb\ud83d")
    await x.piece(finish="stop")


@scenario()
async def bytes_of_a_character_in_two_events(x: Exchange) -> None:
    await x.head()
    at = TEXT.encode().index("日".encode()) + 1
    for piece in (TEXT.encode()[:at], TEXT.encode()[at:]):
        quoted = piece.replace(b"\n", b"\\n")
        await x.send(b'data: {"choices":[{"delta":{"content":"' + quoted + b'"}}]}\n\n')
    await x.piece(finish="stop")


@scenario(cut("not a JSON object"))
async def garbage(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti")
    await x.event("{not json")


@scenario(cut("not a JSON object"))
async def deep_and_huge_json(x: Exchange) -> None:
    await x.head()
    await x.event("[" * 100_000)


@scenario(Expected(failure=INVALID, words="tool look_up"))
async def only_a_tool_call(x: Exchange) -> None:
    await x.head()
    call = {"index": 0, "function": {"name": "look_up", "arguments": "{}"}}
    await x.piece(tool_calls=[call])
    await x.piece(finish="tool_calls")


@scenario(Expected(failure=REFUSED, words="cannot help with that"))
async def refusal_field(x: Exchange) -> None:
    await x.head()
    await x.piece(refusal="I cannot help with that.")
    await x.piece(finish="stop")


# -- errors inside a 200 ---------------------------------------------------------------------------


@scenario(Expected(failure=UNREACHABLE, words="engine core died"))
async def error_object(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti")
    await x.event({"error": {"message": "engine core died", "code": 500}})


@scenario(Expected(failure=UNREACHABLE, words="the model crashed"))
async def error_event(x: Exchange) -> None:
    await x.head()
    await x.send('event: error\ndata: {"message": "the model crashed"}\n\n')


@scenario(Expected(failure=REFUSED, words="bad grammar"))
async def error_like_old_vllm(x: Exchange) -> None:
    await x.head()
    await x.event({"object": "error", "message": "bad grammar", "type": "BadRequestError",
                   "code": 400})  # fmt: skip


@scenario(Expected(failure=UNREACHABLE, words="llama runner process has terminated"))
async def error_string(x: Exchange) -> None:
    await x.head()
    await x.event({"error": "llama runner process has terminated"})


@scenario(Expected(failure=UNREACHABLE, words="out of disk"))
async def error_document_as_200(x: Exchange) -> None:
    await x.head("200 OK", "application/json")
    await x.send('{"detail": "out of disk"}')


@scenario(Expected(failure=OVERFLOW, words="must be", evidence={"context_length": 2048}))
async def overflow_in_stream(x: Exchange) -> None:
    await x.head()
    said = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048."
    await x.event({"error": said, "error_type": "validation"})


# -- reasoning -------------------------------------------------------------------------------------


@scenario(Expected(reasoning="First I think."))
async def reasoning_first(x: Exchange) -> None:
    await x.head()
    await x.piece(reasoning_content="First ", content=None)
    await x.piece(reasoning="I think.")
    await x.whole()


@scenario(Expected(reasoning="Once."))
async def reasoning_under_two_names(x: Exchange) -> None:
    await x.head()
    await x.piece("", reasoning="Once.", reasoning_content="Once.",
                  reasoning_details=[{"type": "reasoning.text", "text": "Once."}])  # fmt: skip
    await x.whole()


@scenario(Expected(reasoning="Hm."))
async def reasoning_parts(x: Exchange) -> None:
    await x.head()
    await x.piece([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}])
    await x.whole()


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
    assert x.body["messages"] == [{"role": "user", "content": "Be brief.\n\nWrite."}]
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


class MisbehavingServer:
    """Plays the scenario that a request's model names. `url` is where it is."""

    def __init__(self) -> None:
        self.url = ""
        self._counts: dict[object, int] = {}
        self._began: dict[object, float] = {}

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[MisbehavingServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            size = int(headers.get("content-length", 0))
            body = json.loads(await reader.readexactly(size)) if size else {}
            path = first.split(" ")[1]
            exchange = Exchange(body, path, headers, 0, 0.0, writer)
            if not body:
                await exchange.fails("404 Not Found", "")
                return
            # One story for each call: `user` tells the calls of a scenario apart.
            name = body["model"]
            key = (name, body.get("user"))
            exchange.since = self._began.setdefault(key, time.monotonic())
            self._counts[key] = exchange.nth = self._counts.get(key, 0) + 1
            await SCENARIOS[name][0](exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
