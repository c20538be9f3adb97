"""Credentials that cannot be printed, and texts from which they are removed.

A key is stripped where it enters (a Kubernetes secret or an `--env-file` with CRLF leaves a line
end on it) and lives in a `Secret`, whose `str`, `repr` and format show nothing. Only `reveal` gives
the value, at the place that sends it. A text from elsewhere (a library's message, a server's
answer) goes through `scrub` before anything transforms it; `scrub` also finds the forms in which
libraries show a value: quoted by `repr`, encoded for a URL, as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, Never
from urllib.parse import quote, quote_plus

HIDDEN: Final = "[hidden]"
MIN_SCRUBBED = 4
"""Shorter values would hide half of any text."""

_IN_URL = re.compile(r"(?<=://)[^/?#\s@]*@")
# A header value is visible ASCII: RFC 9110, section 5.5.
_SENDABLE = re.compile(r"[\x21-\x7e]+")


class Secret:
    """A credential without the white space around it; empty is false."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value.strip()

    def reveal(self) -> str:
        """The value, for the place that sends it."""
        return self._value

    @property
    def sendable(self) -> bool:
        """Whether an HTTP header can carry it."""
        return bool(_SENDABLE.fullmatch(self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __reduce__(self) -> Never:
        raise TypeError("A secret stays in the process that read it.")


def scrub(text: str, secrets: Iterable[Secret] = ()) -> str:
    """`text` without the values of `secrets` and without the credentials of any URL in it."""
    forms = {form for secret in secrets for form in _forms(secret.reveal())}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return _IN_URL.sub("", text)


def _forms(value: str) -> Iterable[str]:
    if len(value) < MIN_SCRUBBED:
        return
    yield value
    yield repr(value)[1:-1]
    yield repr(value.encode("utf-8", "surrogateescape"))[2:-1]
    yield quote(value, safe="", errors="replace")
    yield quote_plus(value, errors="replace")
    yield json.dumps(value)[1:-1]
