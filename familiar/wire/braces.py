"""Calls of the form `call:NAME{key:<|"|>text<|"|>,n:1}`: Gemma 4.

Keys are bare, strings have a delimiter of their own, everything else is as in JSON. Read strictly
first; if that fails and the call's closing token is there, the top level is read again with loose
quoting: a string without delimiters, in single quotes, or with only one delimiter. Without the
closing token a broken call stays unread, for its last value may be half a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from familiar.wire.found import (
    Argument,
    Block,
    Edges,
    FoundCall,
    Window,
    Written,
    rejected,
    scan_each,
    typed_arguments,
)
from familiar.wire.jsontext import skip_space
from familiar.wire.limits import MAX_DOCUMENT_BYTES
from familiar.wire.pythoncalls import LiteralReader, Unreadable
from familiar.wire.result import Json, Repair

_HEAD = re.compile(r"\s{0,8}(?:call)?\s{0,4}:?\s{0,4}([^\s{}<>:,\"']{1,256})\s{0,8}(?=\{)")
_KEY = re.compile(r"\s{0,256}\"?([A-Za-z_$][\w$.-]{0,127})\"?\s{0,16}:")
_NEXT = re.compile(r",\s{0,64}[A-Za-z_$][\w$.-]{0,127}\s{0,16}:")


@dataclass(frozen=True, slots=True)
class BraceSyntax:
    """`<open>call:NAME{key:value,…}<close>` with its own string delimiter and bare keys."""

    open: str
    close: str
    quote: str

    def scan(self, window: Window) -> list[Block]:
        edges = Edges(window, self.open, re.escape(self.close))
        return scan_each(window, edges.opener, _CallReader(window, self, edges).read)


class _CallReader:
    def __init__(self, window: Window, syntax: BraceSyntax, edges: Edges) -> None:
        self.window = window
        self.text = window.text
        self.syntax = syntax
        self.edges = edges

    def read(self, match: re.Match[str]) -> Block:
        """The call that `match` opens, or its problem."""
        block = Block(match.start(), match.end())
        head = _HEAD.match(self.text, match.end(), self.window.end)
        if head is None:
            return self._rejected(block, match.end())
        brace = head.end()
        call = FoundCall(head.group(1), [], match.start(), brace)
        try:
            value, end = self._values(self.window.end).value(brace)
        except Unreadable:
            return self._loose(block, call, brace)
        call.arguments = typed_arguments(value) or []
        following = skip_space(self.text, end)
        close = self.syntax.close
        call.closed = self.text.startswith(close, following) and following < self.window.end
        block.end = call.end = following + len(close) if call.closed else end
        block.calls.append(call)
        return block

    def _values(self, end: int) -> _BraceReader:
        return _BraceReader(self.text, end, self.syntax.quote)

    def _rejected(self, block: Block, position: int) -> Block:
        _, end, closed = self.edges.region(position)
        name = "malformed_call" if closed else "unterminated_call"
        message = "The call's arguments cannot be read, or stop early. Write the whole call again."
        return rejected(name, block.start, end, message, keep_text=not closed)

    def _loose(self, block: Block, call: FoundCall, brace: int) -> Block:
        """Read the top level with loose quoting, from the brace to the call's closing token."""
        text = self.text
        stop, after, closed = self.edges.region(brace)
        if not closed or stop - brace > MAX_DOCUMENT_BYTES:
            return self._rejected(block, brace)
        body_end = text.rfind("}", brace, stop)
        if body_end < 0 or text[body_end + 1 : stop].strip():
            body_end = stop
            call.repairs.append(Repair("missing_brace", stop))
        position = brace + 1
        while position < body_end:
            key = _KEY.match(text, position, body_end)
            if key is None:
                return self._rejected(block, brace)
            try:
                value, position, repair = self._loose_value(key.end(), body_end)
            except Unreadable:
                return self._rejected(block, brace)
            if repair:
                call.repairs.append(Repair(repair, key.end(), key.group(1)))
            call.arguments.append(Argument(key.group(1), "", Written.VALUE, value=value))
            if position < body_end and text[position] == ",":
                position += 1
            elif text[position:body_end].strip():
                return self._rejected(block, brace)
        call.needs_offer = True
        call.end = block.end = after
        block.calls.append(call)
        return block

    def _loose_value(self, position: int, end: int) -> tuple[Json, int, str]:
        text, quote = self.text, self.syntax.quote
        try:
            value, stop = self._values(end).value(position)
            after = skip_space(text, stop)
            if after >= end or text[after] == ",":
                return value, min(after, end), ""
        except Unreadable:
            pass
        following = _NEXT.search(text, position, end)
        stop = following.start() if following is not None else end
        quoted = skip_space(text, position)
        if quoted < stop and text[quoted] in (quote[0], "'", '"'):
            position = quoted
        raw = text[position:stop]
        bare = raw.removeprefix(quote).removesuffix(quote)
        torn = any(residue in bare for residue in (quote[:2], quote[-2:]))
        if torn or raw.lstrip().startswith(("[", "{")):
            # Half a delimiter, or no string at all: the value's ends are not known.
            raise Unreadable(position)
        if raw.startswith(quote):
            return bare, stop, "missing_string_delimiter"
        trimmed = raw.removesuffix(quote)
        if len(trimmed) > 1 and trimmed[0] == trimmed[-1] and trimmed[0] in "'\"":
            return trimmed[1:-1], stop, "foreign_string_quotes"
        return trimmed, stop, "missing_string_delimiter"


class _BraceReader(LiteralReader):
    """The strict grammar: objects with bare keys, lists, delimited strings, numbers, words."""

    trailing_comma = False

    def __init__(self, text: str, end: int, quote: str) -> None:
        super().__init__(text, end)
        self.quote = quote

    def scalar(self, position: int, depth: int) -> tuple[Json, int]:
        """A delimited string, or a number or a word that a structural character follows."""
        if self.text.startswith(self.quote, position):
            return self._delimited(position)
        if self.peek(position) in ("'", '"', "("):
            raise Unreadable(position)
        value, end = super().scalar(position, depth)
        if self.peek(self.space(end)) not in (",", "}", "]", ""):
            raise Unreadable(position)
        return value, end

    def key(self, position: int, depth: int) -> tuple[str, int]:
        if self.text.startswith(self.quote, position):
            key, position = self._delimited(position)
            return key, self.colon(position)
        match = _KEY.match(self.text, position, self.end)
        if match is None:
            raise Unreadable(position)
        return match.group(1), match.end()

    def _delimited(self, position: int) -> tuple[str, int]:
        start = position + len(self.quote)
        stop = self.text.find(self.quote, start, self.end)
        if stop < 0:
            raise Unreadable(self.end)
        return self.text[start:stop], stop + len(self.quote)
