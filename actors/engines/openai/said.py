"""An error in the words of a server: the words, the code, and how long to wait.

The words come in a dozen forms (`error.message`, `detail`, `message`, a list of validation errors,
plain text, a page of HTML). They are found here, and made one bounded line for a person only after
secrets were taken out of them.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actors.engines.openai.sse import read_object
from familiar.secret import Secret, scrub

LONGEST_WORDS = 500
LONGEST_WAIT_S = 24 * 3600.0
_LONGEST_READ = 64 << 10
_DEEPEST = 4

_LOADING = re.compile(
    r"\bloading\b|not (?:yet )?(?:ready|loaded|available yet)|warming up|starting up|is starting"
    r"|initiali[sz]ing|overloaded|at capacity|server (?:is )?busy|too busy|no (?:slot|worker)s?"
    r"(?: is| are)? available|queue (?:is )?full|temporarily|shutting down|being (?:un)?loaded"
    r"|no (?:healthy|available) (?:upstream|deployment|server|backend|worker)"
)
_PERMANENT = re.compile(r"insufficient_quota|exceeded your current quota|billing|payment required")
_NO_ROUTE = re.compile(r"unexpected endpoint or method")
_AGAIN_IN = re.compile(
    r"(?:again|retry|wait|available)(?: after| in| for)?:? (?:about )?(?:(\d{1,3})m)?\s?"
    r"(\d{1,6}(?:\.\d{1,6})?)\s?(ms|milliseconds?|s\b|sec|minutes?|min|m\b)"
)
_TAG = re.compile(
    r"<(?:script|style)[^>]{0,200}>.{0,4000}?</(?:script|style)>|<[^<>]{0,500}>", re.S
)


@dataclass(frozen=True, slots=True)
class Said:
    """An error answer. `words` are clean; `raw` is the message as it was, for rules to look at."""

    words: str
    raw: str
    code: int | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    retry_after_s: float | None = None

    @property
    def asks_for_time(self) -> bool:
        """Whether the server says that it will be able to answer later."""
        return bool(_LOADING.search(self.raw[:2000].lower()))

    @property
    def for_good(self) -> bool:
        """Whether waiting changes nothing: no money, no quota."""
        return bool(_PERMANENT.search(self.raw[:2000].lower()))


def read_said(
    body: bytes, headers: Mapping[str, str] | None = None, secrets: Iterable[Secret] = ()
) -> Said:
    """The words of an error body."""
    body = body[:_LONGEST_READ]
    data = read_object(body)
    found: list[str] = []
    error: Mapping[str, object] = {}
    if data is not None:
        inner = data.get("error")
        error = inner if isinstance(inner, dict) else data
        _words(data, found, 0)
    text = body.decode("utf-8", "replace")
    if not found:
        found = [text if data is not None else _TAG.sub(" ", text)]
    code = error.get("code", error.get("status_code"))
    raw = " ".join(found)
    if _NO_ROUTE.search(raw[:2000].lower()):
        code = 404  # LM Studio says it with status 200
    for name in ("code", "type", "error_type"):
        value = error.get(name)
        if isinstance(value, str) and value not in raw:
            raw += f" ({value})"
    shown = " ".join(found) if len(found[0].strip()) > 3 else raw
    return Said(
        words=clean(shown, secrets),
        raw=raw,
        code=_status(code),
        fields=error,
        retry_after_s=retry_after(headers or {}, data or {}, raw),
    )


def clean(text: str, secrets: Iterable[Secret] = ()) -> str:
    """One bounded line. Secrets go first: later their text may look different."""
    words = " ".join(scrub(text[: 4 * LONGEST_WORDS + 2000], secrets).split())
    words = "".join(c if c.isprintable() else "\ufffd" for c in words)
    return words if len(words) <= LONGEST_WORDS else words[:LONGEST_WORDS] + "…"


def retry_after(headers: Mapping[str, str], body: Mapping[str, object], words: str) -> float | None:
    """Seconds that the server asks for: in a header, a field or its words."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if (seconds := _seconds(value)) is not None:
            return _bounded(seconds * unit)
        if value and unit == 1.0:
            try:
                at = email.utils.parsedate_to_datetime(value[:80]).timestamp()
            except (ValueError, TypeError, OverflowError, OSError):
                continue
            return _bounded(max(at - time.time(), 0.0))
    if (seconds := _seconds(body.get("estimated_time", body.get("retry_after")))) is not None:
        return _bounded(seconds)
    match = _AGAIN_IN.search(words[:2000].lower())
    if match is None:
        return None
    minutes, number, unit_name = match.groups()
    scale = 0.001 if unit_name.startswith(("ms", "mil")) else 60 if unit_name[0] == "m" else 1
    return _bounded(int(minutes or 0) * 60 + float(number) * scale)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = float(value[:40] if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _bounded(seconds: float) -> float | None:
    return round(min(seconds, LONGEST_WAIT_S), 3)


def _status(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
        return value
    return None


def _words(value: object, found: list[str], depth: int) -> None:
    """The sentences in the usual places of an error body."""
    if isinstance(value, str):
        if value.strip():
            found.append(value)
    elif isinstance(value, list) and depth < _DEEPEST:
        for item in value[:5]:
            _words(item, found, depth + 1)
    elif isinstance(value, dict) and depth < _DEEPEST:
        before = len(found)
        for name in ("error", "message", "detail", "msg", "errors", "reason"):
            if value.get(name):
                _words(value[name], found, depth + 1)
                if len(found) > before:
                    place = value.get("loc")
                    if name == "msg" and isinstance(place, list):
                        found[-1] += f" ({'.'.join(map(str, place[:6]))})"
                    break
        if len(found) == before and isinstance(value.get("code"), str):
            found.append(str(value["code"]))
        metadata = value.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("raw"), str):
            found.append(metadata["raw"])  # a gateway that passes the provider's words on
