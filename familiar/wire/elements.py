"""Calls whose arguments are elements named after their keys, every tag behind a marker: MiniMax M3.

The marker token cannot occur in ordinary text, so tags need no boundary rule; they must nest.
The meaning of an element (object, list, number, or raw text because the schema says string) is
left to `coerce`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from familiar.wire.found import Argument, Block, Element, FoundCall, Window, Written
from familiar.wire.result import Problem
from familiar.wire.tokens import read_attributes

Tags = list[re.Match[str]]


@dataclass(frozen=True, slots=True)
class ElementSyntax:
    """`M<wrapper>M<call name="NAME">M<key>value M</key>M</call>M</wrapper>` with a marker M."""

    marker: str
    wrapper: str
    call: str

    def scan(self, window: Window) -> list[Block]:
        tag = re.compile(
            re.escape(self.marker) + r"\s{0,4}<(/?)([^<>\s/]{1,256})((?:\s[^<>]{0,1024})?)>"
        )
        tags = list(window.matches(tag))
        blocks: list[Block] = []
        index = 0
        while index < len(tags):
            if tags[index].group(1) or tags[index].group(2) not in (self.wrapper, self.call):
                index += 1
                continue
            block, index = self._block(window, tags, index)
            blocks.append(block)
        return blocks

    def _block(self, window: Window, tags: Tags, index: int) -> tuple[Block, int]:
        block = Block(tags[index].start(), tags[index].end())
        wrapped = tags[index].group(2) == self.wrapper
        cursor = index + 1 if wrapped else index
        while cursor < len(tags):
            name, closing = tags[cursor].group(2), bool(tags[cursor].group(1))
            if name == self.wrapper and closing:
                block.end = tags[cursor].end()
                return block, cursor + 1
            if name != self.call or closing:
                return self._rejected(window, tags, block, cursor, "malformed_call")
            call, cursor = self._call(window, tags, cursor)
            if call is None:
                return self._rejected(window, tags, block, cursor, "unterminated_call")
            block.calls.append(call)
            block.end = call.end
            if not wrapped and (cursor >= len(tags) or tags[cursor].group(2) != self.call):
                break
        if wrapped and not block.calls:
            return self._rejected(window, tags, block, len(tags), "unterminated_call")
        return block, cursor

    def _rejected(
        self, window: Window, tags: Tags, block: Block, cursor: int, name: str
    ) -> tuple[Block, int]:
        """Skip to the wrapper's end, so that nothing inside it is taken for a call."""
        offset = tags[min(cursor, len(tags) - 1)].start()
        message = (
            "The call's elements do not close in order, or the call stops early. "
            "Write it again whole."
        )
        block.calls.clear()
        block.problems.append(Problem(name, offset, message))
        for position in range(cursor, len(tags)):
            if tags[position].group(1) and tags[position].group(2) == self.wrapper:
                block.end = tags[position].end()
                return block, position + 1
        block.end = window.end
        block.keep_text = True
        return block, len(tags)

    def _call(self, window: Window, tags: Tags, index: int) -> tuple[FoundCall | None, int]:
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
            elif tag.group(2) == self.call:
                call.end = tag.end()
                return call, cursor + 1
            else:
                return None, cursor
        return None, len(tags)
