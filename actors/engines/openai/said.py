"""An error in the words of a server: the words, and the code.

The words come in a dozen forms (`error.message`, `detail`, `message`, a list of validation errors,
plain text, a page of HTML). They are found here, and made one bounded line for a person only after
secrets were taken out of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actors.engines.openai.retry_after import retry_after
from actors.engines.openai.sse import read_object
from familiar.secret import Secret, scrub

LONGEST_WORDS = 500
_LONGEST_READ = 64 << 10
_DEEPEST = 4

_LOADING = re.compile(
    r"(?<!error )(?<!failed )\bloading\b|being (?:(?:un)?loaded|swapped)|warming up|is starting"
    r"|starting up|not (?:yet )?(?:ready|loaded|available yet)|initiali[sz]ing"
)
_BUSY = re.compile(
    r"shutting down|overloaded|at capacity|server (?:is )?busy|too busy|queue (?:is )?full"
    r"|temporarily|no (?:slot|worker)s?(?: is| are)? available"
    r"|no (?:healthy|available) (?:upstream|deployment|server|backend|worker)"
)
_PERMANENT = re.compile(r"insufficient_quota|exceeded your current quota|billing|payment required")
_NO_ROUTE = re.compile(r"unexpected endpoint or method")
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
        return self.loading or bool(_BUSY.search(self.raw[:2000].lower()))

    @property
    def loading(self) -> bool:
        """Whether the server says that it is not up yet."""
        return bool(_LOADING.search(self.raw[:2000].lower()))

    @property
    def for_good(self) -> bool:
        """Whether waiting changes nothing: no money, no quota."""
        return bool(_PERMANENT.search(self.raw[:2000].lower()))


def read_said(
    body: bytes,
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[Secret] = (),
    *,
    limited: bool = False,
) -> Said:
    """The words of an error body. `limited`: its status is 429."""
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
    codes = (error.get(name) for name in ("code", "status_code", "status"))
    raw = " ".join(found)
    code = next((code for value in codes if (code := _status(value)) is not None), None)
    if _NO_ROUTE.search(raw[:2000].lower()):
        code = 404  # LM Studio says it with status 200
    for name in ("code", "type", "error_type", "status"):
        value = error.get(name)
        if isinstance(value, str) and value not in raw:
            raw += f" ({value})"
    shown = " ".join(found) if len(found[0].strip()) > 3 else raw
    return Said(
        words=clean(shown, secrets),
        raw=raw,
        code=code,
        fields=error,
        retry_after_s=retry_after(headers or {}, data or {}, raw, limited=limited),
    )


def clean(text: str, secrets: Iterable[Secret] = ()) -> str:
    """One bounded line. Secrets go first: later their text may look different."""
    words = " ".join(scrub(text[: 4 * LONGEST_WORDS + 2000], secrets).split())
    words = "".join(c if c.isprintable() else "\ufffd" for c in words)
    return words if len(words) <= LONGEST_WORDS else words[:LONGEST_WORDS] + "…"


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
        for name in ("error", "message", "detail", "msg", "errors", "reason", "title", "status_msg",
                     "base_resp"):  # fmt: skip
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
