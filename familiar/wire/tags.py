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
from bisect import bisect_right

from familiar.wire.attributes import read_attributes
from familiar.wire.found import Argument, Block, FoundCall, Window, Written, is_gap
from familiar.wire.result import Problem, Repair
from familiar.wire.syntax import TagSyntax
from familiar.wire.tokens import Kind, TagTable

_STRAY = re.compile(r"\s{0,64}</[^<>\n]{0,64}>")
_FENCE = re.compile(r"^```", re.MULTILINE)
_STRAY_NAMES = ("function", "tool_call", "parameter", "invoke", "calls")


class _Broken(Exception):
    """The markup at this tag cannot be read; carries the problem's name and sentence."""

    def __init__(self, name: str, offset: int, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(name, offset, message)


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
        self.fences: list[int] | None = None

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
        except _Broken as broken:
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
        except _Broken as broken:
            if not _at_line_start(self.text, opened.start) or broken.problem.name == "not_a_call":
                return None, index + 1
            return self._refused(Block(opened.start, opened.end), broken, index)
        if self._in_fence(opened.start):
            return Block(opened.start, call.end, keep_text=True), cursor
        call.needs_offer = True
        block = Block(opened.start, call.end, [call], [Repair("missing_wrapper", opened.start)])
        while self.table.kind(cursor) is Kind.CALL_OPEN and self._gap(block.end, cursor):
            try:
                call, cursor = self._call(cursor)
            except _Broken as broken:
                refused, cursor = self._refused(block, broken, cursor)
                return refused, cursor
            call.needs_offer = True
            block.calls.append(call)
            block.end = call.end
        if self.table.kind(cursor) is Kind.WRAP_CLOSE and self._gap(block.end, cursor):
            block.end = self.table.tags[cursor].end
            cursor += 1
        return self._absorb_strays(block, cursor)

    def _refused(self, block: Block, broken: _Broken, index: int) -> tuple[Block, int]:
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

    def _not_a_call(self, index: int) -> _Broken:
        offset = self.table.tags[index].start
        return _Broken(
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
                position, cursor = self._argument(call, cursor)
            elif kind is Kind.CALL_OPEN and clear and self._shorthand(call, cursor):
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

    def _unfinished(self, call: FoundCall, position: int, cursor: int, clear: bool) -> _Broken:
        if cursor >= len(self.table) and clear:
            message = f"The call to {call.name!r} was never closed. Write the whole call again."
            return _Broken("unterminated_call", position, message)
        if not call.arguments and not clear:
            return _Broken(
                "malformed_call" if self._block_like(call) else "not_a_call",
                position,
                f"Text stands between the tags of the call to {call.name!r}.",
            )
        message = (
            f"The call to {call.name!r} goes on in another markup behind its last argument. "
            "Write the whole call again in the dialect of the first tag."
        )
        return _Broken("malformed_call", position, message)

    def _block_like(self, call: FoundCall) -> bool:
        return _at_line_start(self.text, call.start)

    def _call_name(self, index: int) -> str:
        opened = self.table.tags[index]
        if not self.syntax.attributes or "<name>" in opened.text:
            return opened.carried.strip()
        name = read_attributes(opened.carried).get("name", "")
        if not name:
            raise _Broken(
                "missing_name", opened.start, "A call without a name cannot be carried out."
            )
        return name

    def _shorthand(self, call: FoundCall, index: int) -> bool:
        """An argument written as a self-closing tag with its value in an attribute."""
        tag = self.table.tags[index]
        attributes = read_attributes(tag.carried)
        value = attributes.get("string", attributes.get("value"))
        if not tag.text.endswith("/>") or value is None or "name" not in attributes:
            return False
        call.arguments.append(Argument(attributes["name"], value, Written.STRING))
        call.repairs.append(Repair("value_in_attribute", tag.start, attributes["name"]))
        call.needs_offer = True
        return True

    def _argument(self, call: FoundCall, index: int) -> tuple[int, int]:
        tag = self.table.tags[index]
        key, written = self._key(call, index)
        if self._shorthand_param(call, index):
            return tag.end, index + 1
        close = self._value_close(call, index)
        if close is not None:
            stop, cursor, after = (
                self.table.tags[close].start,
                close + 1,
                self.table.tags[close].end,
            )
        else:
            nested = self._nested(call, index, key)
            if nested is not None:
                return nested
            stop, cursor = self._missing_close(call, index)
            after = stop
            call.repairs.append(Repair("missing_value_close", stop, key))
            call.needs_offer = True
        call.arguments.append(Argument(key, self._value(tag.end, stop, written), written))
        if written is Written.VERBATIM and self._is_framed(tag.end, stop):
            call.arguments[-1].written = Written.FRAMED
        return after, cursor

    def _shorthand_param(self, call: FoundCall, index: int) -> bool:
        return self.syntax.attributes and self._shorthand(call, index)

    def _key(self, call: FoundCall, index: int) -> tuple[str, Written]:
        tag = self.table.tags[index]
        if not self.syntax.attributes:
            return tag.carried.strip(), Written.VERBATIM
        attributes = read_attributes(tag.carried)
        if any(mark in tag.carried for mark in "“”‘’"):
            call.repairs.append(Repair("typographic_quotes", tag.start))
            call.needs_offer = True
        if "name" not in attributes:
            message = f"An argument of the call to {call.name!r} has no name."
            raise _Broken("missing_name", tag.start, message)
        declared = {"true": Written.STRING, "false": Written.JSON}
        return attributes["name"], declared.get(attributes.get("string", ""), Written.INFER)

    def _value_close(self, call: FoundCall, index: int) -> int | None:
        if self.balanced:
            close = self.table.partner.get(index)
            return close if close is not None and self.table.boundary[close] else None
        close = self.table.next_close[index + 1]
        if close is None or not self.table.unbalanced(index + 1, close):
            return close
        # An opener inside the value took this closer. Was the value's own closer forgotten?
        forgotten = self._sibling(call, index, close)
        return close if forgotten is None else None

    def _sibling(self, call: FoundCall, index: int, limit: int) -> int | None:
        """The first tag before `limit` that a value without closer would end at."""
        taken = {argument.key for argument in call.arguments}
        for position in range(index + 1, min(limit, index + 64)):
            tag = self.table.tags[position]
            if tag.kind is Kind.CALL_CLOSE and self.table.closing_chain(position):
                return position
            if tag.kind is Kind.PARAM_OPEN and _at_line_start(self.text, tag.start):
                key, _ = self._key(FoundCall(call.name, [], 0, 0), position)
                if key not in taken and self.window.is_property(call.name, key):
                    return position
                if self.syntax.attributes and is_gap(
                    self.text, self.table.tags[index].end, tag.start
                ):
                    return position
        return None

    def _missing_close(self, call: FoundCall, index: int) -> tuple[int, int]:
        limit = self.table.next_close[index + 1]
        stop = self._sibling(call, index, len(self.table) if limit is None else limit)
        if stop is None:
            for position in range(index + 1, min(len(self.table), index + 64)):
                if self.table.kind(position) in (Kind.CALL_CLOSE, Kind.WRAP_CLOSE):
                    stop = position if self.table.closing_chain(position) else None
                    if stop is not None:
                        break
        offset = self.table.tags[index].start
        if stop is None:
            message = (
                f"The call to {call.name!r} stops inside an argument. Write the whole call again."
            )
            raise _Broken("unterminated_call", offset, message)
        if self.table.closes_between(index + 1, stop):
            message = f"An argument of the call to {call.name!r} has no closer at a tag boundary."
            raise _Broken("ambiguous_close", offset, message)
        return self.table.tags[stop].start, stop

    def _nested(self, call: FoundCall, index: int, key: str) -> tuple[int, int] | None:
        """Arguments inside an argument whose own closer is missing: one object."""
        cursor = index + 1
        if self.table.kind(cursor) is not Kind.PARAM_OPEN or not self.table.gap_after(index):
            return None
        inner = FoundCall(call.name, [], call.start, call.end)
        position = self.table.tags[index].end
        while self.table.kind(cursor) is Kind.PARAM_OPEN and self._gap(position, cursor):
            name, _ = self._key(inner, cursor)
            if self.window.offered is not None and self.window.is_property(call.name, name):
                return None
            close = self.table.next_close[cursor + 1]
            if close is None:
                return None
            tag, closer = self.table.tags[cursor], self.table.tags[close]
            inner.arguments.append(
                Argument(name, self.text[tag.end : closer.start], Written.STRING)
            )
            position, cursor = closer.end, close + 1
        call.repairs.append(Repair("nested_arguments", self.table.tags[index].start, key))
        call.needs_offer = True
        value = {argument.key: argument.raw for argument in inner.arguments}
        call.arguments.append(Argument(key, "", Written.VALUE, value=dict(value)))
        return position, cursor

    def _is_framed(self, start: int, stop: int) -> bool:
        return self.syntax.framed and self.text[start : start + 1] == "\n"

    def _value(self, start: int, stop: int, written: Written) -> str:
        """The text between two tags, without the line breaks that frame it in framed dialects."""
        if self.syntax.framed and self.text[start : start + 1] == "\n":
            start += 1
            if stop > start and self.text[stop - 1] == "\n":
                stop -= 1
        return self.text[start:stop]

    def _gap(self, position: int, cursor: int) -> bool:
        stop = self.table.tags[cursor].start if cursor < len(self.table) else self.end
        return is_gap(self.text, position, stop)

    def _in_fence(self, position: int) -> bool:
        """Whether a code fence is open at `position`: an example, not an act."""
        if self.fences is None:
            self.fences = [match.start() for match in _FENCE.finditer(self.text)]
        return bisect_right(self.fences, position) % 2 == 1

    def _absorb_strays(self, block: Block, cursor: int) -> tuple[Block, int]:
        """Take closers that directly follow a finished block into it; they close nothing."""
        first = block.end
        while match := _STRAY.match(self.text, block.end, self.end):
            if not any(name in match.group() for name in _STRAY_NAMES):
                break
            block.end = match.end()
        if block.end > first:
            block.repairs.append(Repair("stray_close_tags", first))
            while cursor < len(self.table) and self.table.tags[cursor].start < block.end:
                cursor += 1
        return block, cursor


def _at_line_start(text: str, position: int) -> bool:
    line = text.rfind("\n", max(0, position - 256), position)
    if line < 0 and position > 256:
        return False
    return not text[line + 1 : position].strip()
