"""A scanner for HTML tags in text that nobody vouches for: one pass, no backtracking.

It finds tags, comments and declarations and says where they are; everything between is text. A `<`
that begins none of them is text too. Attribute values may hold `>` inside quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr")
)
RAW_TEXT = frozenset(("script", "style", "textarea", "title"))
MAX_TAG = 4096
"""A tag that is longer is text; the bound keeps a hostile run of quotes linear."""
_CLOSERS = {name: re.compile(f"</{name}", re.IGNORECASE) for name in RAW_TEXT}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


@dataclass(frozen=True, slots=True)
class Tag:
    """A piece of markup at `text[start:end]`; `name` is lower case, empty for a declaration."""

    kind: Literal["open", "close", "other"]
    name: str
    start: int
    end: int


def tags(text: str) -> Iterator[Tag]:
    """Every tag in order. What stands inside script, style, textarea and title is skipped."""
    at = 0
    while (start := text.find("<", at)) != -1:
        tag = _tag(text, start)
        if tag is None:
            at = start + 1
            continue
        yield tag
        at = tag.end
        if tag.kind == "open" and tag.name in RAW_TEXT:
            closing = _CLOSERS[tag.name].search(text, at)
            at = len(text) if closing is None else closing.start()


def _tag(text: str, start: int) -> Tag | None:
    if text.startswith("<!--", start):
        end = text.find("-->", start + 4)
        return Tag("other", "", start, len(text) if end == -1 else end + 3)
    if text.startswith(("<!", "<?"), start):
        end = text.find(">", start)
        return Tag("other", "", start, len(text) if end == -1 else end + 1)
    closing = text.startswith("</", start)
    at = start + (2 if closing else 1)
    first = at
    while at < len(text) and text[at].lower() in _NAME:
        at += 1
    if at == first or not text[first].isalpha():
        return None
    name = text[first:at].lower()
    end = _end(text, at)
    return None if end == -1 else Tag("close" if closing else "open", name, start, end)


def _end(text: str, at: int) -> int:
    """Behind the `>` that ends a tag, or -1."""
    quote = ""
    limit = min(len(text), at + MAX_TAG)
    while at < limit:
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == ">":
            return at + 1
        elif char == "<":
            return -1
        at += 1
    return -1
