"""The events of a streamed answer, from whatever a server calls a stream.

A server-sent event is read by the standard: line ends CR, LF or CRLF, a byte order mark at the
start, comments, several `data` lines joined. Servers also send forms that the standard does not
know, and good clients take them: events without an empty line between them, JSON lines without
`data:`, or the whole answer as one JSON document. So data is an event as soon as it is a complete
JSON document; an empty line only ends one that is not. Lines that are neither are kept, bounded: a
proxy's page of an error is all that a person gets to know.

The package httpx-sse was weighed: it insists on the content type, knows no byte order mark, and
gives nothing of an answer that is one JSON document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

LONGEST_EVENT = 16 << 20
_LONGEST_OTHER = 2000
_MOST_READINGS = 64
"""Attempts to read one event as JSON before its end: bounds the work on hostile data."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELDS = (b"data", b"event", b"id", b"retry")
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """An event of more than `LONGEST_EVENT` bytes."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. `json` is None where the data is no JSON object; `done` marks `[DONE]`."""

    name: str = ""
    json: Mapping[str, object] | None = None
    data: bytes = b""
    done: bool = False


@dataclass(slots=True)
class EventReader:
    """Feed it bytes, in any pieces; `end` gives the event that was not closed."""

    other: bytes = b""
    """What came that is no event, its first part."""
    _parts: list[bytes] = field(default_factory=list)
    _open: int = 0
    _held: int = 0
    _after_cr: bool = False
    _name: str = ""
    _data: list[bytes] = field(default_factory=list)
    _readings: int = 0
    _bare: bool | None = None
    _begun: bool = False

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Raises TooLong."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        self._parts.append(chunk)
        self._open += len(chunk)
        if b"\n" in chunk or b"\r" in chunk:
            text = b"".join(self._parts)
            self._after_cr = text.endswith(b"\r")
            *lines, rest = _LINE_END.split(text)
            self._parts[:] = [rest]
            self._open = len(rest)
            for line in lines:
                yield from self._line(line)
        if self._open + self._held > LONGEST_EVENT:
            raise TooLong(f"an event of more than {LONGEST_EVENT} bytes")

    def end(self) -> Iterator[ServerEvent]:
        rest = b"".join(self._parts)
        self._parts.clear()
        if rest:
            yield from self._line(rest)
        yield from self._close()

    def _line(self, line: bytes) -> Iterator[ServerEvent]:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if self._bare is None and line.strip():
            self._bare = line.lstrip()[:1] in (b"{", b"[") and not line.startswith(_FIELDS)
        if self._bare:
            if line.startswith(b"data:"):
                self._bare = False
            else:
                yield from self._add(line)
                return
        if not line:
            yield from self._close()
            return
        if line.startswith(b":"):
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            yield from self._add(value)
        elif name == b"event":
            self._name = value[:80].decode("utf-8", "replace").strip()
        elif name == b"error" and value.lstrip().startswith(b"{"):  # older llama.cpp
            self._name = "error"
            yield from self._add(value)
        elif line.lstrip().startswith(b"{") or _is_done(line):
            yield from self._add(line)
        elif name not in _FIELDS:
            self._keep(line)

    def _add(self, value: bytes) -> Iterator[ServerEvent]:
        if not self._data and _is_done(value):
            self._name = ""
            yield ServerEvent(done=True)
            return
        if not value.strip() and not self._data:
            return
        self._data.append(value)
        self._held += len(value)
        if value.rstrip().endswith(b"}") and self._readings < _MOST_READINGS:
            self._readings += 1
            data = b"\n".join(self._data)
            read = read_object(data)
            if read is not None:
                yield self._event(data, read)

    def _close(self) -> Iterator[ServerEvent]:
        data = b"\n".join(self._data)
        if data.strip():
            read = read_object(data)
            # What does not begin as a document is a sign of life, or words for a person.
            if read is None and data.lstrip()[:1] not in b"{[" and self._name != "error":
                self._keep(data)
                self._event(data, read)
            else:
                yield self._event(data, read)
        self._name = ""

    def _keep(self, line: bytes) -> None:
        if line.strip() != b"null":
            self.other = (self.other + line[:_LONGEST_OTHER] + b"\n")[:_LONGEST_OTHER]

    def _event(self, data: bytes, read: Mapping[str, object] | None) -> ServerEvent:
        name, self._name = self._name, ""
        self._data.clear()
        self._held = self._readings = 0
        return ServerEvent(name, read, data)


def _is_done(value: bytes) -> bool:
    return value.strip().strip(b'"').upper() == b"[DONE]"


def read_object(data: bytes) -> Mapping[str, object] | None:
    """A JSON object, or None. Bytes that are no UTF-8 become lone surrogates (`surrogateescape`):
    the other half of a character may be in the next event."""
    try:
        read = json.loads(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    if isinstance(read, list) and len(read) == 1:
        read = read[0]
    return cast("Mapping[str, object]", read) if isinstance(read, dict) else None
