"""Calls written as tags around plain text: Qwen3-Coder, Step 3.5, Seed-OSS, DSML, MiniMax M2, GLM.

A value ends by the rules of `tagvalues`. Repaired are a missing value closer before a sibling or
before the call's end, a missing call or wrapper closer, stray closers behind a call, a call without
its wrapper. Rejected are junk between tags, a value with closers none of which stands at a
boundary, a call that the text never finished.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from familiar.wire.found import (
    Argument,
    Block,
    FoundCall,
    Window,
    Written,
    at_line_start,
    rejected,
)
from familiar.wire.result import Repair
from familiar.wire.tagvalues import (
    NOT_A_CALL,
    Broken,
    TagMarkup,
    ValueReader,
    plain_name,
)
from familiar.wire.tokens import Kind, TagTable, read_attributes

_STRAY = re.compile(r"\s{0,64}</[^<>\n]{0,64}>")
_STRAY_NAMES = ("function", "tool_call", "parameter", "invoke", "calls")


@dataclass(frozen=True, slots=True)
class TagSyntax(TagMarkup):
    """Calls in the tags that the markup names."""

    def scan(self, window: Window) -> list[Block]:
        """The blocks of the first reading that explains all of `window`, or one problem."""
        if not any(probe in window.text for probe in self.probes):
            return []
        patterns = (
            (Kind.WRAP_OPEN, self.wrap_open),
            (Kind.WRAP_CLOSE, self.wrap_close),
            (Kind.CALL_OPEN, self.call_open),
            (Kind.CALL_CLOSE, self.call_close),
            (Kind.PARAM_OPEN, self.param_open),
            (Kind.PARAM_CLOSE, self.param_close),
            (Kind.CALL_OPEN, self.foreign_call_open),
        )
        table = TagTable(window, [row for row in patterns if row[1]])
        for balanced in (False, True):
            blocks, orphaned = _TagReader(table, self, balanced).read()
            if not orphaned:
                return blocks
        start = min((block.start for block in blocks), default=window.start)
        message = (
            "The call contains its own closing tags in a way that can be read as two different "
            "calls. Send it again with the quoted markup left out, or write the text to a file in "
            "parts."
        )
        return [rejected("ambiguous_close", start, window.end, message, keep_text=False)]


class _TagReader(ValueReader):
    def read(self) -> tuple[list[Block], bool]:
        """Blocks, and whether a closing chain was left that belongs to none of them."""
        blocks: list[Block] = []
        orphaned = called = False
        index = 0
        while index < len(self.table):
            kind = self.table.kind(index)
            if kind in (Kind.WRAP_OPEN, Kind.CALL_OPEN):
                alone = not self.markup.wrap_open
                block, index = self._alone(index) if alone else self._block(index)
                if block is not None:
                    blocks.append(block)
                    called |= bool(block.calls)
                continue
            if kind is Kind.PARAM_CLOSE and self.table.boundary[index] and called:
                orphaned |= self.table.kind(index + 1) is Kind.CALL_CLOSE
            index += 1
        return blocks, orphaned

    def _rejected(self, block: Block, broken: Broken, index: int) -> tuple[Block, int]:
        """Skip to the end of a broken block, so that nothing inside it is taken for a call."""
        block.calls.clear()
        block.problems.append(broken.problem)
        close = self.table.next_outer_close[index + 1]
        reopened = self.table.next_outer_open[index + 1]
        if close is not None and (reopened is None or close < reopened):
            block.end = self.table.tags[close].end
            return block, close + 1
        block.keep_text = True
        block.end = self.end if reopened is None else self.table.tags[reopened].start
        return block, len(self.table) if reopened is None else reopened

    def _alone(self, index: int) -> tuple[Block | None, int]:
        """A call of a dialect without wrappers."""
        opened = self.table.tags[index]
        block = Block(opened.start, opened.end)
        if not opened.carried:
            kind = self.table.kind(index + 1)
            if kind is Kind.CALL_CLOSE and self.table.gap_after(index):
                block.end = self.table.tags[index + 1].end
                return block, index + 2
            if kind is not Kind.PARAM_OPEN or not self.table.tags[index + 1].carried:
                return None, index + 1
        try:
            call, cursor = self._call(index)
        except Broken as broken:
            return self._rejected(block, broken, index)
        block.calls, block.end = [call], call.end
        return block, cursor

    def _block(self, index: int) -> tuple[Block | None, int]:
        """The calls in a wrapper, or calls without one, of which each must be whole; such a call
        that begins inside a line and cannot be read is prose."""
        opened = self.table.tags[index]
        wrapped = opened.kind is Kind.WRAP_OPEN
        block = Block(opened.start, opened.end)
        cursor = index + wrapped
        if wrapped and self.table.kind(cursor) is Kind.WRAP_CLOSE and self.table.gap_after(index):
            block.end = self.table.tags[cursor].end
            return block, cursor + 1
        try:
            while self.table.kind(cursor) is Kind.CALL_OPEN and (
                cursor == index or self.gap(block.end, cursor)
            ):
                call, cursor = self._call(cursor)
                call.needs_offer |= not wrapped
                block.calls.append(call)
                block.end = call.end
            if not block.calls:
                message = "The call block does not hold a call of this dialect."
                raise Broken("malformed_call", opened.start, message)
        except Broken as broken:
            prose = not at_line_start(self.text, opened.start) or broken.problem.name == NOT_A_CALL
            if prose and not wrapped and not block.calls:
                return None, index + 1
            return self._rejected(block, broken, index if wrapped else cursor)
        if not wrapped:
            block.calls[0].repairs.append(Repair("missing_wrapper", opened.start))
        if self.table.kind(cursor) is Kind.WRAP_CLOSE and self.gap(block.end, cursor):
            block.end = self.table.tags[cursor].end
            cursor += 1
        elif wrapped:
            block.calls[0].repairs.append(Repair("missing_wrapper_close", block.end))
            block.calls[-1].closed &= block.end < self.end
        return self._absorb_strays(block, cursor)

    def _call(self, index: int) -> tuple[FoundCall, int]:
        opened = self.table.tags[index]
        call = FoundCall(self._call_name(index), [], opened.start, opened.end)
        if self.markup.mark and self.markup.mark not in opened.text:
            call.repairs.append(Repair("foreign_call_tag", opened.start, opened.text[:64]))
        position, cursor = opened.end, index + 1
        while True:
            kind = self.table.kind(cursor)
            clear = self.gap(position, cursor)
            if kind is Kind.PARAM_OPEN and clear:
                position, cursor = self.argument(call, cursor)
            elif kind is Kind.CALL_OPEN and clear and self.shorthand(call, cursor):
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
        self.table.spend(1, close.start - position)
        body = self.text[position : close.start].strip()
        if not body.startswith("{"):
            raise self._unfinished(call, position, cursor, clear=False)
        call.arguments.append(Argument("", body, Written.INFER))
        call.end = close.end
        return call, cursor + 1

    def _unfinished(self, call: FoundCall, position: int, cursor: int, clear: bool) -> Broken:
        if cursor >= len(self.table) and clear:
            message = f"The call to {call.name!r} was never closed. Write the whole call again."
            return Broken("unterminated_call", position, message)
        if not call.arguments and not clear:
            return Broken(
                "malformed_call" if at_line_start(self.text, call.start) else NOT_A_CALL,
                position,
                f"Text stands between the tags of the call to {call.name!r}.",
            )
        message = (
            f"The call to {call.name!r} goes on in another markup behind its last argument. "
            "Write the whole call again in the dialect of the first tag."
        )
        return Broken("malformed_call", position, message)

    def _call_name(self, index: int) -> str:
        opened = self.table.tags[index]
        if not self.markup.attributes or "<name>" in opened.text:
            name = plain_name(opened.carried, self.window.offered.__contains__)
        else:
            name = read_attributes(opened.carried).get("name", "")
        if not name:
            message = "A call without a name cannot be carried out."
            raise Broken("missing_name", opened.start, message)
        return name

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
            block.calls[0].repairs.append(Repair("stray_close_tags", first))
            while cursor < len(self.table) and self.table.tags[cursor].start < block.end:
                cursor += 1
        return block, cursor
