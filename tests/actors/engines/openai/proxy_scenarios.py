"""Scenarios of servers behind proxies and gateways: statuses, redirects, encodings, odd frames."""

from __future__ import annotations

import gzip
import json
import zlib

from tests.actors.engines.openai.scenario import (
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
from tests.actors.engines.openai.stream_scenarios import plain

EVENTS = "".join(f"data: {json.dumps(c)}\n\n" for c in (chunk(TEXT), chunk(finish="stop")))


def failing(
    name: str, status: str, body: str = "", expected: Expected | None = None, *headers: str
) -> None:
    """A server that answers with this status: once, or always where waiting cures nothing."""
    outcome = expected or Expected(waits=True)

    async def play(x: Exchange) -> None:
        if x.nth < 2 or not outcome.waits:
            kind = "text/html" if body.startswith("<") else "application/json"
            await x.head(status, kind, *headers)
            await x.send(body)
        else:
            await plain(x)

    play.__name__ = name
    scenario(outcome)(play)


for code in (204, 421, 425, 499, 504, 509, 520, 522, 524, 525, 530, 599):
    failing(f"passing_{code}", f"{code} Passing")
PAGE = "<html><head><title>Just a moment...</title><style>a{}</style></head></html>"
failing("page_502", "502 Bad Gateway", "<html><h1>502</h1><hr>nginx</html>")
failing("page_403", "403 Forbidden", PAGE, Expected(failure=REFUSED, words="Just a moment"))
failing("page_413", "413 Too Large", "<h1>413</h1>", Expected(failure=OVERFLOW, words="413"))
failing("proxy_407", "407 Proxy Authentication", "", Expected(failure=REFUSED, words="no reason"))
failing("swapped_409", "409 Conflict", '{"error": "the model is being swapped"}')
failing("loading_400", "400 Bad Request", '{"error": {"message": "Model is still loading"}}')
failing("limited_by_date", "429 x", "", None, "Retry-After: Mon, 01 Jan 2001 00:00:00 GMT")
failing("limit_resets", "429 x", "", None, "X-RateLimit-Reset-Tokens: 200ms")
failing("not_modified", "304 Not Modified", "", Expected(failure=REFUSED, words="to nowhere"))

IN_A_200 = {
    "limit_as_status": '{"error": {"message": "slow down", "status": 429}}',
    "limit_as_a_word": '{"error": {"message": "x", "status": "RESOURCE_EXHAUSTED"}}',
    "problem_document": '{"status": 503, "title": "Service Unavailable"}',
    "no_upstream": '{"status_code": 503, "message": "no healthy upstream"}',
    "typed_error": '{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}',
}
for name, document in IN_A_200.items():
    failing(name, "200 OK", f"data: {document}\n\n")
failing("error_in_plain_words", "200 OK", "event: error\ndata: rate limit exceeded\n\n")
for name, document in {
    "list_of_errors": '{"errors": [{"message": "boom"}]}',
    "no_success": '{"success": false, "reason": "boom"}',
    "base_resp": '{"base_resp": {"status_code": 1002, "status_msg": "boom"}, "choices": null}',
    "words_instead_of_events": "data: boom, said the proxy\n\n",
}.items():
    failing(name, "200 OK", document, Expected(failure=UNREACHABLE, words="boom"))


def framed(name: str, body: bytes | str, *headers: str, expected: Expected | None = None) -> None:
    async def play(x: Exchange) -> None:
        assert x.headers["accept-encoding"] == "identity", "compressing proxies hold streams back"
        await x.head("200 OK", "text/event-stream", *headers)
        await x.send(body)

    play.__name__ = name
    scenario(expected)(play)


TITLE = f"data: {json.dumps(chunk(TEXT))}\n\n"
framed("done_in_small_letters", f"{TITLE}data: [done]\n\n")
framed("done_in_quotes", f'{TITLE}data: "[DONE]"\n\n')
framed("done_without_a_field", f"{TITLE}[DONE]")
framed("life_signs_in_words", f"event: ping\ndata: 12:00\n\ndata: null\n\n{EVENTS}")
framed("x_gzip", gzip.compress(EVENTS.encode()), "Content-Encoding: X-GZIP")
framed("deflate", zlib.compress(EVENTS.encode()), "Content-Encoding: deflate")
framed("shorter_than_promised", EVENTS, "Content-Length: 9999")
framed("shorter_and_cut", TITLE, "Content-Length: 9999", expected=cut("broke the stream"))
framed("chunk_size_is_none", f"{len(TITLE.encode()):x}\r\n{TITLE}\r\nzz\r\n",
       "Transfer-Encoding: chunked", expected=cut("broke the stream"))  # fmt: skip
BROTLI = Expected(failure=REFUSED, words="in the encoding br")
framed("brotli", b"\x8b\x00\x80", "Content-Encoding: br", expected=BROTLI)


def redirecting(name: str, location: str, expected: Expected | None = None) -> None:
    """To `location`, in which HERE is this server; a place with `moved` answers."""

    async def play(x: Exchange) -> None:
        if "moved" in x.path:
            assert x.body["messages"], "a POST stays one"
            await plain(x)
        else:
            there = location.replace("HERE", x.headers["host"])
            await x.head("303 See Other", "text/plain", f"Location: {there}")

    play.__name__ = name
    scenario(expected)(play)


AWAY = Expected(failure=REFUSED, words="not sent on to another server")
redirecting("to_a_relative_place", "moved/")
redirecting("to_the_same_origin", "http://HERE/moved")
redirecting("to_another_port", "http://127.0.0.1:1/moved", AWAY)
redirecting("to_another_scheme", "ftp://HERE/moved", AWAY)
redirecting("to_an_invalid_host", "http://[bad/moved", AWAY)
redirecting("to_an_invalid_port", "http://127.0.0.1:99999/moved", AWAY)
redirecting("to_another_host_without_scheme", "//elsewhere.invalid/moved", AWAY)
redirecting("to_credentials", "http://a:b@HERE/moved", AWAY)
redirecting("to_nowhere", "", Expected(failure=REFUSED, words="to nowhere"))
