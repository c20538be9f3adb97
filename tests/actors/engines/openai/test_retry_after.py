"""How long servers ask a client to wait, in the forms that they use."""

from __future__ import annotations

import email.utils
import time
from datetime import UTC, datetime

import pytest

from actors.engines.openai.retry_after import LONGEST_WAIT_S, retry_after

LATER = time.time() + 4000
ISO = datetime.fromtimestamp(LATER, UTC).isoformat()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20),
        (" 20.5 ", 20.5),
        ("0", 0),
        ("20s", 20),
        ("20 seconds", 20),
        ("1500ms", 1.5),
        ("1m30s", 90),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("99999999", LONGEST_WAIT_S),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0),
        ("2001-01-01T00:00:00Z", 0),
        ("1000000001", 0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("soon", None),
        ("20 apples", None),
        ("", None),
    ],
)
def test_a_header_in_any_unit(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, {}, "") == seconds
    assert retry_after({}, {"error": {"retryAfter": value}}, "") == seconds


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": email.utils.formatdate(LATER, usegmt=True)},
        {"retry-after": email.utils.formatdate(LATER, localtime=True)},
        {"retry-after": ISO},
        {"retry-after": ISO.replace("+00:00", "Z")},
        {"retry-after": str(int(LATER))},
        {"x-ratelimit-reset": str(int(LATER))},
        {"x-ratelimit-reset": str(int(LATER * 1000))},
        {"anthropic-ratelimit-requests-reset": ISO},
    ],
)
def test_a_moment_is_the_time_until_then(headers: dict[str, str]) -> None:
    seconds = retry_after(headers, {}, "", limited=True)
    assert seconds is not None
    assert 0 < seconds <= 4001


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-reset-requests": "20s", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-reset-requests": "1h", "x-ratelimit-remaining-requests": "5",
         "x-ratelimit-reset-tokens": "20s", "x-ratelimit-remaining-tokens": "0"},
        {"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "20s"},
        {"x-ratelimit-reset-after": "20"},
        {"ratelimit-reset": "20"},
        {"ratelimit": '"default";r=0;t=20'},
        {"ratelimit": "limit=100, remaining=0, reset=20"},
    ],
)  # fmt: skip
def test_the_reset_of_a_limit_counts_where_the_limit_is_the_error(headers: dict[str, str]) -> None:
    assert retry_after(headers, {}, "", limited=True) == 20
    assert retry_after(headers, {}, "", limited=False) is None
    assert retry_after({**headers, "retry-after-ms": "1500"}, {}, "", limited=True) == 1.5


@pytest.mark.parametrize(
    "body",
    [
        {"retry_after": 20},
        {"retry_after_seconds": "20"},
        {"error": {"message": "Too many requests", "retry_after_ms": 20_000}},
        {"error": {"details": [{"@type": "RetryInfo", "retryDelay": "20s"}]}},
        {"error": "Model x is currently loading", "estimated_time": 20.0},
        {"error": {"metadata": {"headers": {"X-RateLimit-Reset": "20"}}}},
    ],
)
def test_a_field_of_the_body(body: dict[str, object]) -> None:
    assert retry_after({}, body, "", limited=True) == 20


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Rate limit reached. Please try again in 20s.", 20),
        ("Please try again in 1m30.5s. Visit the page", 90.5),
        ("try again in 250ms", 0.25),
        ("Please retry after 20 seconds.", 20),
        ("try again in 2 minutes", 120),
        ("try again in 1h2m3s", 3723),
        ("Retry-After: 20", 20),
        ("The limit resets in 20 seconds", 20),
        ("wait 20 seconds before retrying", 20),
        ("available again in approximately 20 s", 20),
        ("Try again after 3 attempts", None),
        ("try again later", None),
        ("try again " + "in " * 100_000, None),
        ("wait " + "9" * 100_000, None),
    ],
    ids=range(14),
)
def test_the_words(words: str, seconds: float | None) -> None:
    assert retry_after({}, {}, words) == seconds
