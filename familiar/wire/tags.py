"""Calls written as tags around plain text: Qwen3-Coder, Step 3.5, Seed-OSS, DSML, MiniMax M2.

A value is whatever stands between its tags, so it may contain the very tags that frame it. Three
readings are tried, in this order, and each must explain the whole text:

1. *first boundary*: a value ends at the first closer that a structural tag (or the end) follows;
2. *balanced*: as above, but openers inside a value take their own closers with them. Tried when the
   first reading leaves a closing chain behind, the mark of a call quoted inside a value;
3. otherwise the closers are ambiguous, and nothing is called.

What is mended: a missing value closer before a sibling or before the call's end, a missing call or
wrapper closer, stray closers behind a call, a call without its wrapper. What is not: junk between
tags, a value with closers none of which stands at a boundary, a call that the text never finished.
"""

from __future__ import annotations

import re

from familiar.wire.attributes import read_attributes
from familiar.wire.found import Argument, Block, FoundCall, Window, Written, is_gap
from familiar.wire.result import Problem, Repair
from familiar.wire.syntax import TagSyntax
from familiar.wire.tagvalues import ArgumentReader, Broken, at_line_start
from familiar.wire.tokens import Kind, TagTable

_STRAY = re.compile(r"\s{0,64}</[^<>\n]{0,64}>")
_STRAY_NAMES = ("function", "tool_call", "parameter", "invoke", "calls")


def scan_tags(window: Window, syntax: TagSyntax) -> list[Block]:
    """All blocks of call markup in `window`."""
    if not any(probe in window.text for probe in syntax.probes):
        return []
    patterns = [
        (Kind.WRAP_OPEN, syntax.wrap_open),
        (Kind.WRAP_CLOSE, syntax.wrap_close),
        (Kind.CALL_OPEN, syntax.call_open),
        (Kind.CALL_CLOSE, syntax.call_close),
        (Kind.PARAM_OPEN, syntax.param_open),
        (Kind.PARAM_CLOSE, syntax.param_close),
    ]
    if syntax.foreign_call_open:
        patterns.append((Kind.CALL_OPEN, syntax.foreign_call_open))
    table = TagTable(window, patterns)
    if not table.tags:
        return []
    blocks, orphaned = _TagReader(table, syntax, balanced=False).read()
    if not orphaned:
        return blocks
    blocks, still_orphaned = _TagReader(table, syntax, balanced=True).read()
    if not still_orphaned:
        return blocks
    start = min((block.start for block in blocks), default=window.start)
    message = (
        "The call contains its own closing tags in a way that can be read as two different calls. "
        "Send it again with the quoted markup left out, or write the text to a file in parts."
    )
    return [Block(start, window.end, problems=[Problem("ambiguous_close", start, message)])]


class _TagReader:
    def __init__(self, table: TagTable, syntax: TagSyntax, *, balanced: bool) -> None:
        self.table = table
        self.syntax = syntax
        self.text = table.text
        self.end = table.window.end
        self.window = table.window
        self.balanced = balanced
        self.values = ArgumentReader(table, syntax, balanced=balanced)

    def read(self) -> tuple[list[Block], bool]:
        """Blocks, and whether a closing chain was left that belongs to none of them."""
        blocks: list[Block] = []
        orphaned = False
        index = 0
        while index < len(self.table):
            kind = self.table.kind(index)
            if kind is Kind.WRAP_OPEN or kind is Kind.CALL_OPEN:
                block, index = self._block(index) if kind is Kind.WRAP_OPEN else self._bare(index)
                if block is not None:
                    blocks.append(block)
                continue
            if kind is Kind.PARAM_CLOSE and self.table.boundary[index]:
                follows = self.table.kind(index + 1)
                orphaned |= follows is Kind.CALL_CLOSE and any(block.calls for block in blocks)
            index += 1
        return blocks, orphaned

    def _block(self, index: int) -> tuple[Block | None, int]:
        opened = self.table.tags[index]
        block = Block(opened.start, opened.end)
        cursor = index + 1
        if self.table.kind(cursor) is Kind.WRAP_CLOSE and self.table.gap_after(index):
            block.end = self.table.tags[cursor].end
            return block, cursor + 1
        try:
            while self.table.kind(cursor) is Kind.CALL_OPEN and self.table.gap_after(cursor - 1):
                call, cursor = self._call(cursor)
                block.calls.append(call)
                block.end = call.end
            if not block.calls:
                raise self._not_a_call(index)
        except Broken as broken:
            return self._refused(block, broken, index)
        if self.table.kind(cursor) is Kind.WRAP_CLOSE and self._gap(block.end, cursor):
            block.end = self.table.tags[cursor].end
            cursor += 1
        else:
            block.repairs.append(Repair("missing_wrapper_close", block.end))
            block.calls[-1].closed = block.calls[-1].closed and bool(
                self.text[block.end : self.end]
            )
        return self._absorb_strays(block, cursor)

    def _bare(self, index: int) -> tuple[Block | None, int]:
        """A call without its wrapper: read only if it is whole; inside a line it is prose."""
        opened = self.table.tags[index]
        try:
            call, cursor = self._call(index)
        except Broken as broken:
            if not at_line_start(self.text, opened.start) or broken.problem.name == "not_a_call":
                return None, index + 1
            return self._refused(Block(opened.start, opened.end), broken, index)
        call.needs_offer = True
        block = Block(opened.start, call.end, [call], [Repair("missing_wrapper", opened.start)])
        while self.table.kind(cursor) is Kind.CALL_OPEN and self._gap(block.end, cursor):
            try:
                call, cursor = self._call(cursor)
            except Broken as broken:
                refused, cursor = self._refused(block, broken, cursor)
                return refused, cursor
            call.needs_offer = True
            block.calls.append(call)
            block.end = call.end
        if self.table.kind(cursor) is Kind.WRAP_CLOSE and self._gap(block.end, cursor):
            block.end = self.table.tags[cursor].end
            cursor += 1
        return self._absorb_strays(block, cursor)

    def _refused(self, block: Block, broken: Broken, index: int) -> tuple[Block, int]:
        """Skip to the end of a broken block, so that nothing inside it is taken for a call."""
        block.calls.clear()
        block.problems.append(broken.problem)
        close = self.table.next_wrap_close[index + 1]
        reopened = self.table.next_wrap_open[index + 1]
        if close is not None and (reopened is None or close < reopened):
            block.end = self.table.tags[close].end
            return block, close + 1
        block.keep_text = True
        block.end = self.end if reopened is None else self.table.tags[reopened].start
        return block, len(self.table) if reopened is None else reopened

    def _not_a_call(self, index: int) -> Broken:
        offset = self.table.tags[index].start
        return Broken(
            "malformed_call", offset, "The call block does not hold a call of this dialect."
        )

    def _call(self, index: int) -> tuple[FoundCall, int]:
        opened = self.table.tags[index]
        call = FoundCall(self._call_name(index), [], opened.start, opened.end)
        if self.syntax.mark and self.syntax.mark not in opened.text:
            call.repairs.append(Repair("foreign_call_tag", opened.start, opened.text[:64]))
            call.needs_offer = "<name>" in opened.text
        position, cursor = opened.end, index + 1
        while True:
            kind = self.table.kind(cursor)
            clear = self._gap(position, cursor)
            if kind is Kind.PARAM_OPEN and clear:
                position, cursor = self.values.read(call, cursor)
            elif kind is Kind.CALL_OPEN and clear and self.values.shorthand(call, cursor):
                position, cursor = self.table.tags[cursor].end, cursor + 1
            elif kind is Kind.CALL_CLOSE and clear:
                call.end = self.table.tags[cursor].end
                return call, cursor + 1
            elif kind is Kind.WRAP_CLOSE and clear:
                call.repairs.append(Repair("missing_call_close", position))
                call.end = position
                return call, cursor
            elif kind is Kind.CALL_CLOSE and not call.arguments:
                return self._json_body(call, position, cursor)
            else:
                raise self._unfinished(call, position, cursor, clear)

    def _json_body(self, call: FoundCall, position: int, cursor: int) -> tuple[FoundCall, int]:
        close = self.table.tags[cursor]
        body = self.text[position : close.start].strip()
        if not body.startswith("{"):
            raise self._unfinished(call, position, cursor, clear=False)
        call.arguments.append(Argument("", body, Written.JSON))
        call.end = close.end
        return call, cursor + 1

    def _unfinished(self, call: FoundCall, position: int, cursor: int, clear: bool) -> Broken:
        if cursor >= len(self.table) and clear:
            message = f"The call to {call.name!r} was never closed. Write the whole call again."
            return Broken("unterminated_call", position, message)
        if not call.arguments and not clear:
            return Broken(
                "malformed_call" if self._block_like(call) else "not_a_call",
                position,
                f"Text stands between the tags of the call to {call.name!r}.",
            )
        message = (
            f"The call to {call.name!r} goes on in another markup behind its last argument. "
            "Write the whole call again in the dialect of the first tag."
        )
        return Broken("malformed_call", position, message)

    def _block_like(self, call: FoundCall) -> bool:
        return at_line_start(self.text, call.start)

    def _call_name(self, index: int) -> str:
        opened = self.table.tags[index]
        if not self.syntax.attributes or "<name>" in opened.text:
            return opened.carried.strip()
        name = read_attributes(opened.carried).get("name", "")
        if not name:
            raise Broken(
                "missing_name", opened.start, "A call without a name cannot be carried out."
            )
        return name

    def _gap(self, position: int, cursor: int) -> bool:
        stop = self.table.tags[cursor].start if cursor < len(self.table) else self.end
        return is_gap(self.text, position, stop)

    def _absorb_strays(self, block: Block, cursor: int) -> tuple[Block, int]:
        """Take closers that directly follow a finished block into it; they close nothing.

        A value closer among them is left: with a call closer behind it, it is the end of a value
        that quoted this whole block.
        """
        first = block.end
        if self.table.kind(cursor) is Kind.PARAM_CLOSE:
            return block, cursor
        while match := _STRAY.match(self.text, block.end, self.end):
            if not any(name in match.group() for name in _STRAY_NAMES):
                break
            block.end = match.end()
        if block.end > first:
            block.repairs.append(Repair("stray_close_tags", first))
            while cursor < len(self.table) and self.table.tags[cursor].start < block.end:
                cursor += 1
        return block, cursor
