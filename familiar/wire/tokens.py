"""Structural tags of one grammar in one text, with every look-ahead worked out once.

A tag inside an argument is only text, and whether it is can depend on tags far behind it. Asking
"is there a closer at a structural boundary somewhere ahead?" per tag would be quadratic, so a
`TagTable` answers it from arrays that are filled in one backward pass. A closing tag is at a
*boundary* when the next thing behind it, white space aside, is another structural tag that may
follow it, or the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import lru_cache

from familiar.wire.found import TooManyTags, Window, is_gap

# Each alternative starts with a different character, so a failed match never backs up.
_ATTRIBUTE = re.compile(
    r"([A-Za-z_:][\w:.-]{0,63})\s{0,4}=\s{0,4}"
    r"(?:\"([^\"]{0,1024})\"|'([^']{0,1024})'|[“”]([^“”]{0,1024})[“”]|[‘’]([^‘’]{0,1024})[‘’]"
    r"|([^\s\"'“”‘’<>/]{1,256}))"
)


class Kind(IntEnum):
    """The purpose of a structural tag."""

    WRAP_OPEN = 0
    WRAP_CLOSE = 1
    CALL_OPEN = 2
    CALL_CLOSE = 3
    PARAM_OPEN = 4
    PARAM_CLOSE = 5


class Tag:
    """One structural tag: its kind, its place, and the name or attributes that it carries."""

    __slots__ = ("carried", "end", "kind", "start", "text")

    def __init__(self, kind: Kind, match: re.Match[str]) -> None:
        self.kind = kind
        self.start = match.start()
        self.end = match.end()
        self.text = match.group()
        inner = match.groups()[match.lastindex or 0 :]
        self.carried = next((group for group in reversed(inner) if group is not None), "")

    def __repr__(self) -> str:
        return f"Tag({self.kind.name}, {self.start}:{self.end})"


@lru_cache(maxsize=64)
def _compiled(patterns: tuple[tuple[Kind, str], ...]) -> tuple[re.Pattern[str], tuple[Kind, ...]]:
    """One pattern for all tags; which one matched is read from the outer group's index.

    Every tag begins with an angle bracket. Saying so once, in front, lets the engine skip ordinary
    text as fast as a plain search does.
    """
    parts: list[str] = []
    kinds: list[Kind] = [Kind.WRAP_OPEN]
    for kind, pattern in patterns:
        inner = pattern.removeprefix("<")
        parts.append(f"({inner})")
        kinds.extend([kind] * (1 + re.compile(inner).groups))
    return re.compile("<(?:" + "|".join(parts) + ")"), tuple(kinds)


class TagTable:
    """The structural tags of `window`, in order, and for each the tags ahead."""

    def __init__(self, window: Window, patterns: Sequence[tuple[Kind, str]]) -> None:
        pattern, kinds = _compiled(tuple(patterns))
        self.window = window
        self.text = window.text
        self.tags: list[Tag] = []
        for match in window.matches(pattern):
            self.tags.append(Tag(kinds[match.lastindex or 0], match))
        self.boundary = self._boundaries()
        self.next_close = self._next_index(lambda i: self._is_close(i) and self.boundary[i])
        # The outermost tags: those of the wrapper, or of calls that have none.
        outer = (Kind.WRAP_OPEN, Kind.WRAP_CLOSE)
        if Kind.WRAP_OPEN not in dict(patterns):
            outer = (Kind.CALL_OPEN, Kind.CALL_CLOSE)
        self.next_outer_open = self._next_index(lambda i: self.tags[i].kind is outer[0])
        self.next_outer_close = self._next_index(lambda i: self.tags[i].kind is outer[1])
        self.partner = self._partners()
        self._opens = self._running(Kind.PARAM_OPEN)
        self._closes = self._running(Kind.PARAM_CLOSE)
        self._budget = 4096 + 16 * len(self.tags) + (window.end - window.start) // 8

    def __len__(self) -> int:
        return len(self.tags)

    def spend(self, tags: int, characters: int = 0) -> None:
        """Count a look at `tags` tags, or at `characters` of text.

        A tag may be looked at again for each opener in front of it. Raises `TooManyTags` for more
        looks than a text takes that is not made to be expensive.
        """
        self._budget -= tags + characters // 64
        if self._budget < 0:
            raise TooManyTags

    def gap_after(self, index: int) -> bool:
        """Whether nothing but white space follows tag `index` up to the next tag or the end."""
        stop = self.tags[index + 1].start if index + 1 < len(self.tags) else self.window.end
        return is_gap(self.text, self.tags[index].end, stop)

    def kind(self, index: int) -> Kind | None:
        """The kind of tag `index`, or none behind the last tag."""
        return self.tags[index].kind if index < len(self.tags) else None

    def surplus_open(self, first: int, last: int) -> int:
        """How many more values tags `first` to `last` (excluded) open than they close."""
        opened = self._opens[last] - self._opens[first]
        return opened - self.closes_between(first, last)

    def last_of_value(self, index: int, close: int) -> int | None:
        """The closer that ends the value between tags `index` and `close`, or none if unclear.

        A value may quote a closer; then it usually goes on in the same line. Where one closer too
        many stands, a second one in a row is a slip if the value has one line, and the first of
        them ends it. At the end of a line, or of a longer value, nobody can tell a quoted closer
        from a value that ended there and was followed by a forgotten opener.
        """
        if close == index + 1:
            return close
        start, first = self.tags[index].end, close - 1
        doubled = self.tags[first].kind is Kind.PARAM_CLOSE and self.gap_after(first)
        if doubled and self.surplus_open(index + 1, close) < 0:
            one_line = "\n" not in self.text[start : self.tags[first].start].strip()
            return first if one_line else None
        depth = 0
        for tag in self.tags[index + 1 : close]:
            if depth < 0 and tag.kind is Kind.PARAM_OPEN and self.text[tag.start - 1] == "\n":
                return None
            depth += (tag.kind is Kind.PARAM_OPEN) - (tag.kind is Kind.PARAM_CLOSE)
            if depth < 0 and self.text.startswith("\n", tag.end):
                return None
        return close

    def closes_between(self, first: int, last: int) -> int:
        """How many value closers stand among tags `first` to `last` (excluded)."""
        return self._closes[last] - self._closes[first]

    def closing_chain(self, index: int) -> bool:
        """Whether tag `index` ends a call: its closer, then the wrapper's closer or the end."""
        if not self.gap_after(index):
            return False
        following = self.kind(index + 1)
        if self.tags[index].kind is Kind.WRAP_CLOSE:
            return following in (None, Kind.WRAP_OPEN)
        return following in (None, Kind.WRAP_CLOSE, Kind.WRAP_OPEN, Kind.CALL_OPEN)

    def _is_close(self, index: int) -> bool:
        return self.tags[index].kind is Kind.PARAM_CLOSE

    def _boundaries(self) -> list[bool]:
        may_follow = (Kind.PARAM_OPEN, Kind.CALL_CLOSE, Kind.WRAP_CLOSE, None)
        return [
            self.kind(index + 1) in may_follow and self.gap_after(index)
            if tag.kind is Kind.PARAM_CLOSE
            else False
            for index, tag in enumerate(self.tags)
        ]

    def _next_index(self, wanted: Callable[[int], bool]) -> list[int | None]:
        ahead: list[int | None] = [None] * (len(self.tags) + 1)
        for index in range(len(self.tags) - 1, -1, -1):
            ahead[index] = index if wanted(index) else ahead[index + 1]
        return ahead

    def _partners(self) -> dict[int, int]:
        """For each value opener the closer that balances it, counting nested ones."""
        partners: dict[int, int] = {}
        stack: list[int] = []
        for index, tag in enumerate(self.tags):
            if tag.kind is Kind.PARAM_OPEN:
                stack.append(index)
            elif tag.kind is Kind.PARAM_CLOSE and stack:
                partners[stack.pop()] = index
        return partners

    def _running(self, kind: Kind) -> list[int]:
        counts = [0]
        for tag in self.tags:
            counts.append(counts[-1] + (tag.kind is kind))
        return counts


def read_attributes(text: str) -> dict[str, str]:
    """`name="value"` pairs of a tag; the first of a repeated name counts.

    Quotes may be straight, single, typographic or absent: typographic quotes are normalised here
    and nowhere else, in tags, never in values.
    """
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(text):
        value = next((group for group in match.groups()[1:] if group is not None), "")
        found.setdefault(match.group(1), value)
    return found
