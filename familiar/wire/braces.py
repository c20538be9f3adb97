"""Calls of the form `call:NAME{key:<|"|>text<|"|>,n:1}`: Gemma 4.

Keys are bare, strings have a delimiter of their own, everything else is as in JSON. Read strictly
first; if that fails and the call's closing token is there, the top level is read again with loose
quoting: a string without delimiters, in single quotes, or with only one delimiter. Without the
closing token a broken call stays unread, for its last value may be half a value.
"""

from __future__ import annotations

import re

from familiar.wire.found import Ahead, Argument, Block, FoundCall, Window, Written
from familiar.wire.jsontext import skip_space
from familiar.wire.result import Json, Problem, Repair
from familiar.wire.syntax import BraceSyntax
from familiar.wire.tokens import TooManyTags

_HEAD = re.compile(r"\s{0,8}(?:call)?\s{0,4}:?\s{0,4}([^\s{}<>:,\"']{1,256})\s{0,8}(?=\{)")
_KEY = re.compile(r"\s{0,256}\"?([A-Za-z_$][\w$.-]{0,127})\"?\s{0,16}:\s{0,16}")
_LOOSE_KEY = re.compile(r"\s{0,256}\"?([A-Za-z_$][\w$.-]{0,127})\"?\s{0,16}:")
_BARE = re.compile(r"[^,{}\[\]<>\n\"']{1,512}")
_NUMBER = re.compile(r"-?\d{1,64}(?:\.\d{1,64})?(?:[eE][+-]?\d{1,4})?")
_NEXT = re.compile(r",\s{0,64}[A-Za-z_$][\w$.-]{0,127}\s{0,16}:")
_WORDS: dict[str, Json] = {"true": True, "false": False, "null": None, "None": None}


class _Unreadable(Exception):
    """The strict grammar does not explain the text here."""


def scan_braces(window: Window, syntax: BraceSyntax) -> list[Block]:
    """All calls in `window`, one block each."""
    text = window.text
    opener = Ahead(re.compile(syntax.open), text, window.end)
    closer = Ahead(re.compile(re.escape(syntax.close)), text, window.end)
    blocks: list[Block] = []
    position, seen, broken = window.start, 0, 0
    while (match := opener.at(position)) is not None:
        seen += 1
        if seen > window.limits.max_tags:
            raise TooManyTags
        block = _call(window, syntax, opener, closer, match)
        blocks.append(block)
        broken += bool(block.problems)
        if broken > window.limits.max_broken:
            raise TooManyTags
        position = max(block.end, match.end())
    return blocks


def _call(
    window: Window, syntax: BraceSyntax, opener: Ahead, closer: Ahead, match: re.Match[str]
) -> Block:
    text = window.text
    block = Block(match.start(), match.end())
    head = _HEAD.match(text, match.end(), window.end)
    if head is None:
        return _refused(window, block, opener, closer, match.end())
    brace = head.end()
    call = FoundCall(head.group(1), [], match.start(), brace)
    try:
        value, end = _Reader(text, window.end, syntax.quote, window.limits.max_depth).read(brace)
    except _Unreadable:
        return _loose(window, syntax, opener, closer, block, call, brace)
    for key, item in (value if isinstance(value, dict) else {}).items():
        call.arguments.append(Argument(key, "", Written.VALUE, value=item))
    following = skip_space(text, end)
    call.closed = text.startswith(syntax.close, following) and following < window.end
    block.end = following + len(syntax.close) if call.closed else end
    call.end = block.end
    block.calls.append(call)
    return block


def _refused(window: Window, block: Block, opener: Ahead, closer: Ahead, position: int) -> Block:
    ending, following = closer.at(position), opener.at(position)
    closed = ending is not None and (following is None or ending.start() < following.start())
    if closed and ending is not None:
        block.end = ending.end()
    else:
        block.end = following.start() if following is not None else window.end
        block.keep_text = True
    name = "malformed_call" if closed else "unterminated_call"
    message = "The call's arguments cannot be read, or stop early. Write the whole call again."
    block.problems.append(Problem(name, block.start, message))
    return block


def _loose(
    window: Window,
    syntax: BraceSyntax,
    opener: Ahead,
    closer: Ahead,
    block: Block,
    call: FoundCall,
    brace: int,
) -> Block:
    """Read the top level with loose quoting, from the brace to the call's closing token."""
    text = window.text
    ending, following = closer.at(brace), opener.at(brace)
    if ending is None or (following is not None and following.start() < ending.start()):
        return _refused(window, block, opener, closer, brace)
    if ending.start() - brace > window.limits.max_document_bytes:
        return _refused(window, block, opener, closer, brace)
    stop = ending.start()
    body_end = text.rfind("}", brace, stop)
    if body_end < 0 or text[body_end + 1 : stop].strip():
        body_end = stop
        call.repairs.append(Repair("missing_brace", stop))
    position = brace + 1
    quote = syntax.quote
    while position < body_end:
        key = _LOOSE_KEY.match(text, position, body_end)
        if key is None:
            return _refused(window, block, opener, closer, brace)
        try:
            value, position, repair = _loose_value(window, quote, key.end(), body_end)
        except _Unreadable:
            return _refused(window, block, opener, closer, brace)
        if repair:
            call.repairs.append(Repair(repair, key.end(), key.group(1)))
        call.arguments.append(Argument(key.group(1), "", Written.VALUE, value=value))
        if position < body_end and text[position] == ",":
            position += 1
        elif text[position:body_end].strip():
            return _refused(window, block, opener, closer, brace)
    call.needs_offer = True
    call.end = block.end = ending.end()
    block.calls.append(call)
    return block


def _loose_value(window: Window, quote: str, position: int, end: int) -> tuple[Json, int, str]:
    text = window.text
    try:
        value, stop = _Reader(text, end, quote, window.limits.max_depth).value(position)
        after = skip_space(text, stop)
        if after >= end or text[after] == ",":
            return value, min(after, end), ""
    except _Unreadable:
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
        raise _Unreadable  # half a delimiter, or no string at all: the value's ends are not known
    if raw.startswith(quote):
        return bare, stop, "missing_string_delimiter"
    trimmed = raw.removesuffix(quote)
    if len(trimmed) > 1 and trimmed[0] == trimmed[-1] and trimmed[0] in "'\"":
        return trimmed[1:-1], stop, "foreign_string_quotes"
    return trimmed, stop, "missing_string_delimiter"


class _Reader:
    """The strict grammar: objects with bare keys, lists, delimited strings, numbers, words."""

    def __init__(self, text: str, end: int, quote: str, depth: int) -> None:
        self.text = text
        self.end = end
        self.quote = quote
        self.depth = depth

    def read(self, position: int) -> tuple[Json, int]:
        """The object that starts at `position`, and the offset behind it."""
        return self._object(position + 1, self.depth)

    def value(self, position: int) -> tuple[Json, int]:
        """Any one value at `position`."""
        return self._value(position, self.depth)

    def _peek(self, position: int) -> str:
        return self.text[position] if position < self.end else ""

    def _object(self, position: int, depth: int) -> tuple[Json, int]:
        if depth <= 0:
            raise _Unreadable
        found: dict[str, Json] = {}
        position = skip_space(self.text, position)
        if self._peek(position) == "}":
            return found, position + 1
        while True:
            key, position = self._key(position)
            found[key], position = self._value(position, depth - 1)
            position = skip_space(self.text, position)
            character = self._peek(position)
            if character == "}":
                return found, position + 1
            if character != ",":
                raise _Unreadable
            position = skip_space(self.text, position + 1)

    def _key(self, position: int) -> tuple[str, int]:
        if self.text.startswith(self.quote, position):
            key, position = self._string(position)
            position = skip_space(self.text, position)
            if self._peek(position) != ":":
                raise _Unreadable
            return key, skip_space(self.text, position + 1)
        match = _KEY.match(self.text, position, self.end)
        if match is None:
            raise _Unreadable
        return match.group(1), match.end()

    def _string(self, position: int) -> tuple[str, int]:
        start = position + len(self.quote)
        stop = self.text.find(self.quote, start, self.end)
        if stop < 0:
            raise _Unreadable
        return self.text[start:stop], stop + len(self.quote)

    def _value(self, position: int, depth: int) -> tuple[Json, int]:
        position = skip_space(self.text, position)
        if self.text.startswith(self.quote, position):
            return self._string(position)
        character = self._peek(position)
        if character == "{":
            return self._object(position + 1, depth)
        if character == "[":
            return self._list(position + 1, depth)
        number = _NUMBER.match(self.text, position, self.end)
        if number and self._peek(skip_space(self.text, number.end())) in (",", "}", "]", ""):
            written = number.group()
            return (float(written) if set(written) & set(".eE") else int(written)), number.end()
        bare = _BARE.match(self.text, position, self.end)
        word = bare.group().strip() if bare else ""
        if bare and word in _WORDS:
            return _WORDS[word], bare.end()
        raise _Unreadable

    def _list(self, position: int, depth: int) -> tuple[Json, int]:
        if depth <= 0:
            raise _Unreadable
        found: list[Json] = []
        position = skip_space(self.text, position)
        if self._peek(position) == "]":
            return found, position + 1
        while True:
            item, position = self._value(position, depth - 1)
            found.append(item)
            position = skip_space(self.text, position)
            character = self._peek(position)
            if character == "]":
                return found, position + 1
            if character != ",":
                raise _Unreadable
            position = skip_space(self.text, position + 1)
