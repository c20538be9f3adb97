"""The interface between scanners and the binding step: blocks of markup, calls not judged yet.

A scanner knows one grammar and no tools. It reports every stretch of text that belongs to the
call markup (a block), the calls inside, how each argument was written, and its repairs. Whether a
tool was offered, whether the arguments fit, and whether a repaired call may run is not its
business; `bind` decides that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from familiar.wire.limits import MAX_BROKEN, MAX_TAGS
from familiar.wire.offered import OfferedTools
from familiar.wire.result import Json, Problem, Repair

_QUOTES = {"`": "`", "'": "'", '"': '"', "“": "”", "‘": "’", "«": "»"}


class TooManyTags(Exception):
    """More structural tags than the limits allow; `parse` names it as a problem."""


class Written(StrEnum):
    """How an argument stood in the text; its schema may make a value of it accordingly."""

    VERBATIM = "verbatim"  # raw text between tags, no frame of its own
    INFER = "infer"  # raw text that is JSON unless it is a string
    STRING = "string"  # raw text that the model declared to be a string
    VALUE = "value"  # already a value


@dataclass(slots=True)
class Argument:
    """One argument: its raw text, or its value where the grammar itself is typed."""

    key: str
    raw: str
    written: Written
    value: Json = None
    tree: Element | None = None


def typed_arguments(value: Json) -> list[Argument] | None:
    """The members of an object whose grammar types its values; none for any other value."""
    if not isinstance(value, dict):
        return None
    return [Argument(key, "", Written.VALUE, value=item) for key, item in value.items()]


@dataclass(slots=True)
class Element:
    """A node of a nested-element argument; `raw` is the exact text between its tags."""

    name: str
    raw: str
    attributes: str = ""
    start: int = 0
    end: int = 0
    children: list[Element] = field(default_factory=list)


@dataclass(slots=True)
class FoundCall:
    """A call as it stood. `closed` is false where the text ended before the call's own closer."""

    name: str
    arguments: list[Argument]
    start: int
    end: int
    closed: bool = True
    id: str = ""
    repairs: list[Repair] = field(default_factory=list)
    needs_offer: bool = False  # also without a repair: offered, and the arguments fit


@dataclass(slots=True)
class Block:
    """A stretch of call markup, `start` to `end`. `keep_text` leaves it in the content; an
    `unmarked` one has no markup of its own and is told from prose by the text around it."""

    start: int
    end: int
    calls: list[FoundCall] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    keep_text: bool = False
    unmarked: bool = False


def rejected(name: str, start: int, end: int, message: str, *, keep_text: bool = True) -> Block:
    """A block whose markup cannot be read."""
    return Block(start, end, problems=[Problem(name, start, message)], keep_text=keep_text)


@dataclass(slots=True)
class Window:
    """The part of the answer a scanner may read: `text[start:end]`."""

    text: str
    start: int
    end: int
    tools: OfferedTools

    @property
    def offered(self) -> frozenset[str]:
        """Names of the offered tools; none where the offer is not known."""
        return self.tools.names or frozenset()

    def is_property(self, tool: str, key: str) -> bool:
        """Whether `key` is a declared argument of `tool`; true where no tools were offered."""
        return not self.tools.known or key in self.tools.properties.get(tool, frozenset())

    def matches(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """All matches of `pattern`. Raises `TooManyTags` behind as many as the limits allow."""
        for count, match in enumerate(pattern.finditer(self.text, self.start, self.end)):
            if count >= MAX_TAGS:
                raise TooManyTags
            yield match


@dataclass(frozen=True, slots=True)
class Answer:
    """One model answer and all that its reading depends on; the fields are those of
    `parse_output`."""

    text: str
    dialect: str
    tools: OfferedTools
    finish_reason: str | None
    in_reasoning: bool
    suffix: str | None

    def window(self, start: int = 0, end: int | None = None) -> Window:
        """The part of the text between two offsets, for a scanner."""
        stop = len(self.text) if end is None else end
        return Window(self.text, start, stop, self.tools)


class Syntax(Protocol):
    """One way to write calls, as data of a dialect's row; each scanner module has one."""

    def scan(self, window: Window) -> list[Block]:
        """All blocks of call markup in `window`."""


class Ahead:
    """The next match of a pattern, asked for at ever later offsets: one pass over the text."""

    __slots__ = ("_end", "_found", "_pattern", "_spent", "_text")

    def __init__(self, pattern: re.Pattern[str], text: str, end: int) -> None:
        self._pattern = pattern
        self._text = text
        self._end = end
        self._found: re.Match[str] | None = None
        self._spent = False

    def at(self, position: int) -> re.Match[str] | None:
        """The first match that starts at or behind `position`."""
        if self._spent or (self._found is not None and self._found.start() >= position):
            return self._found
        self._found = self._pattern.search(self._text, position, self._end)
        self._spent = self._found is None
        return self._found


class Edges:
    """The openers and closing marks of one grammar, asked for at ever later offsets."""

    def __init__(self, window: Window, opener: str, closer: str) -> None:
        self.window = window
        self.close = re.compile(closer)
        self.opener = Ahead(re.compile(opener), window.text, window.end)
        self.closer = Ahead(self.close, window.text, window.end)

    def region(self, body: int) -> tuple[int, int, bool]:
        """Where a body that cannot be read ends: its text, its block, and whether it closed."""
        ending, following = self.closer.at(body), self.opener.at(body)
        if ending is not None and (following is None or ending.start() < following.start()):
            return ending.start(), ending.end(), True
        stop = following.start() if following is not None else self.window.end
        return stop, stop, False


def outside(spans: Iterable[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What `spans`, in order, leave of `start` to `end`."""
    for low, high in (*spans, (end, end)):
        if low > start:
            yield start, low
        start = max(start, high)


def is_gap(text: str, start: int, end: int) -> bool:
    """Whether only white space (or its escaped spelling, `\\n`) stands between two tags."""
    if start >= end:
        return True
    if end - start > 512:
        return text[start:end].isspace()
    between = text[start:end].strip()
    return not between or not between.replace("\\n", "").strip()


def at_line_start(text: str, position: int) -> bool:
    """Whether only white space stands before `position` in its line, as far as 256 characters."""
    line = text.rfind("\n", max(0, position - 256), position)
    if line < 0 and position > 256:
        return False
    return not text[line + 1 : position].strip()


def in_quotes(text: str, start: int, end: int, low: int = 0, high: int | None = None) -> bool:
    """Whether quotation marks or the backticks of a line stand around `text[start:end]`, between
    `low` and `high`."""
    last = end + 256 if high is None else min(end + 256, high)
    before, after = text[max(low, start - 256) : start], text[end:last]
    closing = _QUOTES.get(before[-1:])
    if closing is not None and after.startswith((closing, "\\" + closing)):
        return True
    return before.rpartition("\n")[2].count("`") % 2 == 1 and "`" in after.partition("\n")[0]


def scan_each(
    window: Window, opener: Ahead, read: Callable[[re.Match[str]], Block | None]
) -> list[Block]:
    """The blocks that `read` makes of each match of `opener` that no earlier block holds.

    Raises `TooManyTags` for too many matches, or too many calls that cannot be read.
    """
    blocks: list[Block] = []
    position, seen, broken = window.start, 0, 0
    while (match := opener.at(position)) is not None:
        seen += 1
        position = match.end()
        if block := read(match):
            blocks.append(block)
            broken += bool(block.problems)
            position = max(block.end, position)
        if seen > MAX_TAGS or broken > MAX_BROKEN:
            raise TooManyTags
    return blocks
