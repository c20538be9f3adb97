"""One entry to all scanners: which one reads a syntax, and how several share a text."""

from __future__ import annotations

from familiar.wire.braces import scan_braces
from familiar.wire.dialects import Dialect
from familiar.wire.elements import scan_elements
from familiar.wire.found import Block, Window
from familiar.wire.jsoncalls import scan_heads, scan_json
from familiar.wire.pairs import scan_pairs
from familiar.wire.pythoncalls import scan_python
from familiar.wire.syntax import (
    BraceSyntax,
    ElementSyntax,
    HeadSyntax,
    JsonSyntax,
    PairSyntax,
    PythonSyntax,
    Syntax,
    TagSyntax,
)
from familiar.wire.tags import scan_tags
from familiar.wire.tokens import TooManyTags


def scan(window: Window, dialect: Dialect) -> list[Block]:
    """Blocks of all of the dialect's syntaxes, in order, without overlap.

    Where two syntaxes claim the same text, the one that found calls wins, then the earlier one in
    the dialect's row.
    """
    kept: list[Block] = []
    for syntax in dialect.syntaxes:
        found = _scan_one(window, syntax)
        kept = _merged(kept, found) if kept and found else kept or found
    if sum(len(block.problems) for block in kept) > window.limits.max_broken:
        raise TooManyTags
    return kept


def _merged(earlier: list[Block], later: list[Block]) -> list[Block]:
    """Both lists in order; of two blocks that overlap, the one with calls, else the first."""
    merged: list[Block] = []
    for block in sorted([*earlier, *later], key=lambda block: (block.start, -block.end)):
        if not merged or merged[-1].end <= block.start:
            merged.append(block)
        elif block.calls and not merged[-1].calls:
            merged[-1] = block
    return merged


def _scan_one(window: Window, syntax: Syntax) -> list[Block]:
    if isinstance(syntax, TagSyntax):
        return scan_tags(window, syntax)
    if isinstance(syntax, PairSyntax):
        return scan_pairs(window, syntax)
    if isinstance(syntax, ElementSyntax):
        return scan_elements(window, syntax)
    if isinstance(syntax, JsonSyntax):
        return scan_json(window, syntax)
    if isinstance(syntax, HeadSyntax):
        return scan_heads(window, syntax)
    if isinstance(syntax, BraceSyntax):
        return scan_braces(window, syntax)
    if isinstance(syntax, PythonSyntax):
        return scan_python(window, syntax)
    return []
