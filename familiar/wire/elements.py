"""Calls whose arguments are elements named after their keys, every tag behind a marker: MiniMax M3.

The marker token cannot occur in ordinary text, so tags need no boundary rule; they must nest.
What an element means (object, list, number, or raw text because the schema says string) is left
to `coerce`.
"""

from __future__ import annotations

import re

from familiar.wire.attributes import read_attributes
from familiar.wire.found import Argument, Block, Element, FoundCall, Window, Written
from familiar.wire.result import Problem
from familiar.wire.syntax import ElementSyntax
from familiar.wire.tokens import TooManyTags


def scan_elements(window: Window, syntax: ElementSyntax) -> list[Block]:
    """All blocks of call markup in `window`."""
    tag = re.compile(
        re.escape(syntax.marker) + r"\s{0,4}<(/?)([^<>\s/]{1,256})((?:\s[^<>]{0,1024})?)>"
    )
    tags: list[re.Match[str]] = []
    for match in tag.finditer(window.text, window.start, window.end):
        if len(tags) >= window.limits.max_tags:
            raise TooManyTags
        tags.append(match)
    blocks: list[Block] = []
    index = 0
    while index < len(tags):
        opened = tags[index]
        if opened.group(1) or opened.group(2) not in (syntax.wrapper, syntax.call):
            index += 1
            continue
        block, index = _block(window, syntax, tags, index)
        blocks.append(block)
    return blocks


def _block(
    window: Window, syntax: ElementSyntax, tags: list[re.Match[str]], index: int
) -> tuple[Block, int]:
    block = Block(tags[index].start(), tags[index].end())
    wrapped = tags[index].group(2) == syntax.wrapper
    cursor = index + 1 if wrapped else index
    while cursor < len(tags):
        name, closing = tags[cursor].group(2), bool(tags[cursor].group(1))
        if name == syntax.wrapper and closing:
            block.end = tags[cursor].end()
            return block, cursor + 1
        if name != syntax.call or closing:
            return _refused(window, syntax, tags, block, cursor, "malformed_call")
        call, cursor = _call(window, tags, cursor, syntax)
        if call is None:
            return _refused(window, syntax, tags, block, cursor, "unterminated_call")
        block.calls.append(call)
        block.end = call.end
        if not wrapped and (cursor >= len(tags) or tags[cursor].group(2) != syntax.call):
            break
    if wrapped and not block.calls:
        return _refused(window, syntax, tags, block, len(tags), "unterminated_call")
    return block, cursor


def _refused(
    window: Window,
    syntax: ElementSyntax,
    tags: list[re.Match[str]],
    block: Block,
    cursor: int,
    name: str,
) -> tuple[Block, int]:
    offset = tags[min(cursor, len(tags) - 1)].start()
    message = (
        "The call's elements do not close in order, or the call stops early. Write it again whole."
    )
    block.calls.clear()
    block.problems.append(Problem(name, offset, message))
    for position in range(cursor, len(tags)):
        if tags[position].group(1) and tags[position].group(2) == syntax.wrapper:
            block.end = tags[position].end()
            return block, position + 1
    block.end = window.end
    block.keep_text = True
    return block, len(tags)


def _call(
    window: Window, tags: list[re.Match[str]], index: int, syntax: ElementSyntax
) -> tuple[FoundCall | None, int]:
    name = read_attributes(tags[index].group(3)).get("name", "")
    if not name:
        return None, index
    call = FoundCall(name, [], tags[index].start(), tags[index].end())
    open_elements: list[tuple[Element, int]] = []
    for cursor in range(index + 1, len(tags)):
        tag = tags[cursor]
        if not tag.group(1):
            if len(open_elements) >= window.limits.max_depth:
                return None, cursor
            element = Element(tag.group(2), "")
            if open_elements:
                open_elements[-1][0].children.append(element)
            open_elements.append((element, tag.end()))
        elif open_elements:
            element, start = open_elements.pop()
            if element.name != tag.group(2):
                return None, cursor
            element.raw = window.text[start : tag.start()]
            if not open_elements:
                call.arguments.append(
                    Argument(element.name, element.raw, Written.INFER, tree=element)
                )
        elif tag.group(2) == syntax.call:
            call.end = tag.end()
            return call, cursor + 1
        else:
            return None, cursor
    return None, len(tags)
