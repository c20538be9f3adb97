"""Calls written as Python: `[f(x=1), g()]`, or one call a line between tags: Llama 4, Olmo 3.

Only keyword arguments with literal values are read, by a small scanner of our own: nothing is
evaluated, names stay names, and depth is capped. `true`, `false` and `null` count as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from familiar.wire.found import Ahead, Argument, Block, FoundCall, TooManyTags, Window, Written
from familiar.wire.jsontext import read_number, skip_space
from familiar.wire.limits import MAX_DEPTH, MAX_TAGS
from familiar.wire.result import Json, Problem

_SPACE = re.compile(r"[ \t\r\n]*+")
_NAME = re.compile(r"[A-Za-z_][\w.\-]{0,255}")
_NUMBER = re.compile(r"[+-]?(?:\d{1,64}(?:\.\d{0,64})?|\.\d{1,64})(?:[eE][+-]?\d{1,4})?")
_LIST = r"[ \t]{0,16}\[(?=\s{0,64}[A-Za-z_][\w.\-]{0,255}\()"
# Two patterns, as one with an alternative in front could not skip to the next line break.
_FIRST_LIST, _LATER_LIST = re.compile(r"\s{0,16}" + _LIST), re.compile(r"\n" + _LIST)
_STRING_STOP = {"'": re.compile(r"['\\]"), '"': re.compile(r'["\\]')}
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "/": "/",
    "b": "\b",
    "\n": "",
}
_WORDS: dict[str, Json] = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "null": None,
}


class Unreadable(Exception):
    """The text at `offset` is no literal of the allowed kinds."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class LiteralReader:
    """Python and JSON literals in `text[:end]`, without evaluating anything."""

    trailing_comma = True

    def __init__(self, text: str, end: int) -> None:
        self.text = text
        self.end = end

    def space(self, position: int) -> int:
        match = _SPACE.match(self.text, position, self.end)
        return match.end() if match else position

    def peek(self, position: int) -> str:
        """The character at `position`, or nothing behind the end."""
        return self.text[position] if position < self.end else ""

    def value(self, position: int, depth: int = 0) -> tuple[Json, int]:
        if depth > MAX_DEPTH:
            raise Unreadable(position)
        position = self.space(position)
        character = self.peek(position)
        if character == "[":
            return self._items(position + 1, "]", depth)
        if character == "{":
            return self._mapping(position + 1, depth)
        return self.scalar(position, depth)

    def scalar(self, position: int, depth: int) -> tuple[Json, int]:
        """A value that is no list and no mapping (a tuple is read as a list)."""
        character = self.peek(position)
        if character in ("'", '"'):
            return self._string(position)
        if character == "(":
            return self._items(position + 1, ")", depth)
        number = _NUMBER.match(self.text, position, self.end)
        if number:
            written = number.group()
            try:
                return read_number(written), number.end()
            except ValueError as error:
                raise Unreadable(position) from error
        word = _NAME.match(self.text, position, self.end)
        if word and word.group() in _WORDS:
            return _WORDS[word.group()], word.end()
        raise Unreadable(position)

    def key(self, position: int, depth: int) -> tuple[str, int]:
        key, position = self.value(position, depth)
        if isinstance(key, list | dict):
            raise Unreadable(position)
        return str(key), self.colon(position)

    def colon(self, position: int) -> int:
        position = self.space(position)
        if self.peek(position) != ":":
            raise Unreadable(position)
        return position + 1

    def _string(self, position: int) -> tuple[str, int]:
        quote = self.text[position]
        if self.text.startswith(quote * 3, position):
            return self._long_string(position + 3, quote * 3)
        pieces: list[str] = []
        position += 1
        while (match := _STRING_STOP[quote].search(self.text, position, self.end)) is not None:
            pieces.append(self.text[position : match.start()])
            if match.group() == quote:
                return "".join(pieces), match.end()
            piece, position = self._escape(match.end())
            pieces.append(piece)
        raise Unreadable(self.end)

    def _long_string(self, position: int, quotes: str) -> tuple[str, int]:
        stop = self.text.find(quotes, position, self.end)
        if stop < 0:
            raise Unreadable(self.end)
        return self.text[position:stop], stop + 3

    def _escape(self, position: int) -> tuple[str, int]:
        character = self.peek(position)
        digits = {"x": 2, "u": 4, "U": 8}.get(character, 0)
        if digits:
            code = self.text[position + 1 : position + 1 + digits]
            try:
                return chr(int(code, 16)), position + 1 + digits
            except (ValueError, OverflowError):
                return "\\" + character, position + 1
        return _ESCAPES.get(character, "\\" + character), position + 1

    def _items(self, position: int, close: str, depth: int) -> tuple[Json, int]:
        found: list[Json] = []

        def item(position: int) -> int:
            value, position = self.value(position, depth + 1)
            found.append(value)
            return position

        return found, self.separated(position, close, item)

    def _mapping(self, position: int, depth: int) -> tuple[Json, int]:
        found: dict[str, Json] = {}

        def member(position: int) -> int:
            key, position = self.key(position, depth + 1)
            found[key], position = self.value(position, depth + 1)
            return position

        return found, self.separated(position, "}", member)

    def separated(self, position: int, close: str, item: Callable[[int], int]) -> int:
        """The offset behind `close`, up to which `item` reads what stands between commas."""
        position, more = self.space(position), True
        while self.peek(position) != close:
            if not more:
                raise Unreadable(position)
            position = self.space(item(position))
            more = self.peek(position) == ","
            position = self.space(position + 1) if more else position
            if more and self.peek(position) == close and not self.trailing_comma:
                raise Unreadable(position)
        return position + 1


@dataclass(frozen=True, slots=True)
class PythonSyntax:
    """`[name(key=literal, …), …]`, or one call a line between `open` and `close`."""

    open: str = ""
    close: str = ""

    def scan(self, window: Window) -> list[Block]:
        """Blocks of calls: between the syntax's tags, or a list that starts a line."""
        opening = re.compile(re.escape(self.open)) if self.open else _LATER_LIST
        opener = Ahead(opening, window.text, window.end)
        first = None if self.open else _FIRST_LIST.match(window.text, window.start, window.end)
        reader = LiteralReader(window.text, window.end)
        blocks: list[Block] = []
        position, seen, budget = window.start, 0, 2 * (window.end - window.start) + 4096
        while (match := first or opener.at(position)) is not None:
            first = None
            seen += 1
            block = Block(match.start(), match.end())
            try:
                self._read(window, reader, block, match.end())
            except Unreadable as broken:
                budget -= broken.offset - match.start()
                if seen > MAX_TAGS or budget < 0:
                    raise TooManyTags from broken
                self._reject(window, block, match, broken)
            if block.calls or block.problems:
                blocks.append(block)
            position = max(block.end, match.end())
        return blocks

    def _read(self, window: Window, reader: LiteralReader, block: Block, position: int) -> None:
        def call(position: int) -> int:
            found, position = _call(window, reader, position)
            block.calls.append(found)
            return position

        position = reader.space(position)
        listed = not self.open or reader.peek(position) == "["
        if listed:
            position = reader.separated(position + bool(self.open), "]", call)
        while not listed:
            position = reader.space(call(position))
            position += reader.peek(position) in (",", ";")
            position = reader.space(position)
            if not _NAME.match(window.text, position, window.end):
                break
        if not block.calls:
            raise Unreadable(position)
        block.end = position
        if self.close:
            position = reader.space(position)
            closed = window.text.startswith(self.close, position) and position < window.end
            if closed:
                block.end = position + len(self.close)
            elif position < window.end:
                raise Unreadable(position)
            block.calls[-1].closed = closed or listed

    def _reject(
        self, window: Window, block: Block, match: re.Match[str], broken: Unreadable
    ) -> None:
        """Name the problem where the text surely meant calls; a lone bracket is only a bracket."""
        block.calls.clear()
        starts = skip_space(window.text, window.start) >= match.start()
        if not self.open and not starts:
            block.end = match.end()
            return
        block.end = window.end
        block.keep_text = True
        if self.close:
            close = window.text.find(self.close, match.end(), window.end)
            if close >= 0:
                block.end = close + len(self.close)
                block.keep_text = False
        message = (
            "The call list cannot be read as calls with literal keyword arguments. Write it again."
        )
        name = "unterminated_call" if broken.offset >= window.end else "malformed_call"
        block.problems.append(Problem(name, match.start(), message))


def _call(window: Window, reader: LiteralReader, position: int) -> tuple[FoundCall, int]:
    name = _NAME.match(window.text, position, window.end)
    if name is None or reader.peek(name.end()) != "(":
        raise Unreadable(position)
    call = FoundCall(name.group(), [], position, position)

    def argument(position: int) -> int:
        key = _NAME.match(window.text, position, window.end)
        after = reader.space(key.end()) if key else position
        if key is None or reader.peek(after) != "=":
            raise Unreadable(position)
        value, position = reader.value(after + 1)
        call.arguments.append(Argument(key.group(), "", Written.VALUE, value=value))
        return position

    call.end = reader.separated(name.end() + 1, ")", argument)
    return call, call.end
