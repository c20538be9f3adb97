"""Scenarios inside a 200: how streams end, what they are made of, errors, reasoning."""

from __future__ import annotations

import asyncio
import gzip
import json

from tests.actors.engines.openai.scenario import (
    INVALID,
    OVERFLOW,
    REFUSED,
    TEXT,
    UNREACHABLE,
    Exchange,
    Expected,
    chunk,
    cut,
    scenario,
)

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


@scenario()
async def compressed(x: Exchange) -> None:
    await x.head("200 OK", "text/event-stream", "Content-Encoding: gzip")
    events = (chunk(TEXT[:4]), chunk(TEXT[4:], "stop"))
    await x.send(gzip.compress("".join(f"data: {json.dumps(e)}\n\n" for e in events).encode()))


@scenario()
async def events_without_choices_or_delta(x: Exchange) -> None:
    await x.head()
    await x.event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
    await x.event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]})
    await x.event({"choices": None, "usage": {"prompt_tokens": 3}})
    await x.event({"choices": [{"index": 7, "delta": {"content": TEXT}, "finish_reason": None}]})
    await x.piece(role=None, content=None)
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


@scenario(Expected(failure=UNREACHABLE, words="the slot was lost"))
async def error_as_a_field_of_its_own(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti")
    await x.send('error: {"code": 500, "message": "the slot was lost", "type": "server_error"}\n\n')


@scenario(Expected(failure=UNREACHABLE, words="Provider disconnected"))
async def error_beside_choices(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti")
    said = {"code": "server_error", "message": "Provider disconnected"}
    await x.event({**chunk("", "error"), "error": said})


@scenario(Expected(failure=REFUSED, words="Unexpected endpoint"))
async def wrong_path_as_200(x: Exchange) -> None:
    await x.head("200 OK", "application/json")
    await x.send('{"error": "Unexpected endpoint or method. (POST /chat/completions)"}')


@scenario(Expected(failure=REFUSED, words="by its filter: content_filter"))
async def stopped_by_a_filter(x: Exchange) -> None:
    await x.head()
    await x.piece("# Ti")
    await x.piece(finish="content_filter")
    await x.event("[DONE]")


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
