"""Calls whose arguments are elements named after their keys, every tag behind a marker: MiniMax M3.

The marker token cannot occur in ordinary text, so tags need no boundary rule; they must nest.
The meaning of an element (object, list, number, or raw text because the schema says string) is
left to `coerce`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from familiar.wire.found import Argument, Block, Element, FoundCall, Window, Written, rejected
from familiar.wire.limits import MAX_DEPTH
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
            first = index
            element, index = self._element(window, tags, first)
            calls = [] if element is None else self._calls(element)
            if element is None or not calls:
                block, index = self._rejected(window, tags, first, whole=element is not None)
            else:
                block = Block(element.start, element.end, calls)
            blocks.append(block)
        return blocks

    def _element(self, window: Window, tags: Tags, index: int) -> tuple[Element | None, int]:
        """The element that tag `index` opens, and the tag behind it or the one that does not fit.
        The closer of a wrapper may be missing at the end."""
        nested: list[tuple[Element, int]] = []
        root: Element | None = None
        for cursor in range(index, len(tags)):
            tag = tags[cursor]
            if not tag.group(1):
                element = Element(tag.group(2), "", tag.group(3), tag.start())
                if nested:
                    nested[-1][0].children.append(element)
                root = root or element
                nested.append((element, tag.end()))
                if len(nested) > MAX_DEPTH:
                    return None, cursor
                continue
            element, start = nested.pop()
            if element.name != tag.group(2):
                return None, cursor
            element.raw, element.end = window.text[start : tag.start()], tag.end()
            if not nested:
                return element, cursor + 1
        if root is None or root.name != self.wrapper or len(nested) > 1 or not root.children:
            return None, len(tags)
        root.end = root.children[-1].end
        return root, len(tags)

    def _calls(self, element: Element) -> list[FoundCall]:
        """The calls of a wrapper, or one by itself; none where one has no name or is none."""
        calls: list[FoundCall] = []
        for node in element.children if element.name == self.wrapper else [element]:
            name = read_attributes(node.attributes).get("name", "")
            if node.name != self.call or not name:
                return []
            arguments = [
                Argument(child.name, child.raw, Written.INFER, tree=child)
                for child in node.children
            ]
            calls.append(FoundCall(name, arguments, node.start, node.end))
        return calls

    def _rejected(
        self, window: Window, tags: Tags, first: int, *, whole: bool
    ) -> tuple[Block, int]:
        """A broken block up to its wrapper's end, so that nothing inside it is taken for a call."""
        name = "malformed_call" if whole else "unterminated_call"
        message = (
            "The call's elements do not close in order, or the call stops early. "
            "Write it again whole."
        )
        ends = (at for at in range(first, len(tags)) if tags[at].group(1, 2) == ("/", self.wrapper))
        close = next(ends, None)
        end, index = (window.end, len(tags)) if close is None else (tags[close].end(), close + 1)
        block = rejected(name, tags[first].start(), end, message, keep_text=close is None)
        return block, index
