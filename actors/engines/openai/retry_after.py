"""How long a server asks a client to wait: in a header, in a field of the error, or in its words.

One value is a number of seconds, a duration with units (`1m30s`, `250ms`), a date, or a moment in
seconds or milliseconds since 1970. The reset of a limit counts only when a limit is the error, and
only where the same limit is used up.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

LONGEST_WAIT_S = 24 * 3600.0
_DEEPEST = 4
_MOST_FIELDS = 50
_MOMENT_S = 1e9
"""A larger number is a moment, not a duration."""

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0}
_UNIT = r"ms|milliseconds?|h|hours?|hrs?|m|minutes?|mins?|s|secs?|seconds?"
_PIECE = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,9}})?)\s?({_UNIT})(?![a-z])")
_DURATION = rf"(?:\d{{1,12}}(?:\.\d{{1,9}})?\s?(?:{_UNIT})(?![a-z])\s?){{1,4}}"
_IN_WORDS = re.compile(
    r"(?:again|retry(?:ing)?|wait|available|resets?)"
    r"(?:[\s:-]{1,3}(?:after|in|for|again|about|approximately|at least)){0,3}[\s:]{1,3}"
    rf"({_DURATION})|retry-after[\s:]{{1,3}}(\d{{1,6}})"
)
_ASKED = re.compile(r"retry-?(?:after|delay|in)(?:-(?:(ms)|s|seconds))?|estimated-time")
_COMBINED = re.compile(r"\b(?:t|reset)=(\d{1,9})")
_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])|_")


def retry_after(
    headers: Mapping[str, str], body: Mapping[str, object], words: str, *, limited: bool = False
) -> float | None:
    """Seconds, or None. `limited`: the error is a rate limit."""
    fields: dict[str, object] = {_plain(name): value for name, value in headers.items()}
    for name, value in _fields(body, 0):
        if len(fields) < _MOST_FIELDS + len(headers):
            fields.setdefault(name, value)
    asked = [(match, value) for name, value in fields.items() if (match := _ASKED.fullmatch(name))]
    asked.sort(key=lambda field: not field[0].group(1))  # milliseconds are the finer word
    values = [_seconds(value, 0.001 if match[1] else 1.0) for match, value in asked]
    if limited:
        values += sorted(_resets(fields), reverse=True)
    if said := _IN_WORDS.search(words[:2000].lower()):
        values += [_seconds(value, 1.0) for value in said.groups()]
    seconds = next((value for value in values if value is not None), None)
    return None if seconds is None else round(min(seconds, LONGEST_WAIT_S), 3)


def _resets(fields: Mapping[str, object]) -> Iterator[float]:
    combined = _COMBINED.search(str(fields.get("ratelimit", ""))[:200])
    if combined:
        yield float(combined[1])
    for name, value in fields.items():
        if "reset" in name and "limit" in name:
            left = fields.get(name.replace("reset", "remaining"), "0")
            if str(left).strip() in ("0", "0.0") and (seconds := _seconds(value, 1.0)) is not None:
                yield seconds


def _fields(value: object, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and depth < _DEEPEST:
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                yield from _fields(inner, depth + 1)
            else:
                yield _plain(name), inner
    elif isinstance(value, list) and depth < _DEEPEST:
        for inner in value[:5]:
            yield from _fields(inner, depth + 1)


def _plain(name: str) -> str:
    return _WORD_END.sub("-", name[:80]).lower()


def _seconds(value: object, unit_s: float) -> float | None:
    """What one value means; None for one that means nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)[:80].strip()
    try:
        number = float(text)
    except ValueError:
        return _duration(text.lower()) if _PIECE.match(text.lower()) else _until(text)
    if not math.isfinite(number) or number < 0:
        return None
    if number >= _MOMENT_S:
        moment = number if number < _MOMENT_S * 100 else number / 1000
        return max(moment - time.time(), 0.0)
    return number * unit_s


def _duration(text: str) -> float | None:
    if not re.fullmatch(_DURATION, text):
        return None
    return sum(float(number) * _unit_s(unit) for number, unit in _PIECE.findall(text))


def _unit_s(unit: str) -> float:
    return 0.001 if unit.startswith(("ms", "milli")) else _UNITS_S[unit[0]]


def _until(text: str) -> float | None:
    for read in (email.utils.parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = read(text)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return max(at.timestamp() - time.time(), 0.0)
        except (ValueError, TypeError, OverflowError, OSError):
            continue
    return None
