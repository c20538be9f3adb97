"""Calls written as a name and key/value tags: GLM 4.5, 4.6, 4.7 and their kin.

The reading follows `tags`: a value ends at the first closer at a structural boundary. Mended are
a value without opener or closer, a doubled key closer, a name glued to its first key; the last
only if the glued word splits into an offered tool and one of its arguments.
"""

from __future__ import annotations

import re

from familiar.wire.found import Argument, Block, FoundCall, Window, Written, is_gap
from familiar.wire.result import Problem, Repair
from familiar.wire.syntax import PairSyntax
from familiar.wire.tokens import Kind, TagTable

_TORN = re.compile(r"<[^<>\n]{0,48}\s?\Z")
_NAME = re.compile(r"[^\s<>\"'`,;:!?(){}]{1,256}")


class _Broken(Exception):
    """The call cannot be read; `name` is the problem, or empty where it is only prose."""

    def __init__(self, name: str, offset: int) -> None:
        super().__init__(name)
        self.name = name
        self.offset = offset


def scan_pairs(window: Window, syntax: PairSyntax) -> list[Block]:
    """All calls in `window`, one block each."""
    if not re.search(syntax.call_open, window.text):
        return []
    table = TagTable(
        window,
        (
            (Kind.WRAP_OPEN, syntax.call_open),
            (Kind.WRAP_CLOSE, syntax.call_close),
            (Kind.KEY_OPEN, syntax.key_open),
            (Kind.KEY_CLOSE, syntax.key_close),
            (Kind.PARAM_OPEN, syntax.value_open),
            (Kind.PARAM_CLOSE, syntax.value_close),
        ),
    )
    blocks, orphaned = _PairReader(table, balanced=False).read()
    if not orphaned:
        return blocks
    blocks, still_orphaned = _PairReader(table, balanced=True).read()
    if not still_orphaned:
        return blocks
    start = min((block.start for block in blocks), default=window.start)
    message = (
        "The call contains its own closing tags in a way that can be read as two different calls. "
        "Send it again with the quoted markup left out."
    )
    return [Block(start, window.end, problems=[Problem("ambiguous_close", start, message)])]


class _PairReader:
    def __init__(self, table: TagTable, *, balanced: bool) -> None:
        self.table = table
        self.text = table.text
        self.end = table.window.end
        self.window = table.window
        self.balanced = balanced

    def read(self) -> tuple[list[Block], bool]:
        """Blocks, and whether a value closer before a call closer belongs to none of them."""
        blocks: list[Block] = []
        orphaned = False
        index = 0
        while index < len(self.table):
            if self.table.kind(index) is Kind.WRAP_OPEN:
                block, index = self._block(index)
                if block is not None:
                    blocks.append(block)
                continue
            if self.table.kind(index) is Kind.PARAM_CLOSE and self.table.boundary[index]:
                follows = self.table.kind(index + 1)
                orphaned |= follows is Kind.WRAP_CLOSE and any(block.calls for block in blocks)
            index += 1
        return blocks, orphaned

    def _block(self, index: int) -> tuple[Block | None, int]:
        opened = self.table.tags[index]
        try:
            call, cursor = self._call(index)
        except _Broken as broken:
            if not broken.name:
                return None, index + 1
            message = "The call stops before its end or mixes its tags. Write the whole call again."
            problem = Problem(broken.name, broken.offset, message)
            close = self.table.next_wrap_close[index + 1]
            reopened = self.table.next_wrap_open[index + 1]
            if close is not None and (reopened is None or close < reopened):
                end = self.table.tags[close].end
                return Block(opened.start, end, problems=[problem]), close + 1
            end = self.end if reopened is None else self.table.tags[reopened].start
            following = len(self.table) if reopened is None else reopened
            return Block(opened.start, end, problems=[problem], keep_text=True), following
        if call is None:
            return Block(opened.start, self.table.tags[cursor - 1].end), cursor
        return Block(opened.start, call.end, [call]), cursor

    def _call(self, index: int) -> tuple[FoundCall | None, int]:
        opened = self.table.tags[index]
        cursor = index + 1
        stop = self.table.tags[cursor].start if cursor < len(self.table) else self.end
        if stop - opened.end > 512:
            raise _Broken("", opened.start)
        name = self.text[opened.end : stop].replace("\\n", " ").strip()
        following = self.table.kind(cursor)
        if not name and following is Kind.WRAP_CLOSE:
            return None, cursor + 1
        if not _NAME.fullmatch(name):
            raise _Broken("" if following is not Kind.KEY_OPEN else "missing_name", opened.start)
        if following is None:
            raise _Broken("unterminated_call", opened.start)
        call = FoundCall(name, [], opened.start, opened.end)
        key = ""
        if following is Kind.KEY_CLOSE:
            key = self._split_glued(call, cursor)
        position = stop
        while True:
            kind = self.table.kind(cursor)
            if not key and not is_gap(self.text, position, self._start(cursor)):
                raise _Broken("malformed_call", position)
            if kind is Kind.WRAP_CLOSE and not key:
                call.end = self.table.tags[cursor].end
                return call, cursor + 1
            if kind is Kind.KEY_OPEN and not key:
                key, cursor = self._key(cursor)
            elif kind is Kind.KEY_CLOSE:
                pass
            elif not key:
                raise _Broken("unterminated_call", position)
            position, cursor = self._argument(call, key, cursor)
            key = ""

    def _start(self, cursor: int) -> int:
        return self.table.tags[cursor].start if cursor < len(self.table) else self.end

    def _split_glued(self, call: FoundCall, cursor: int) -> str:
        """`send_mailto</arg_key>` is the tool `send_mail` and its argument `to`, if it can be."""
        for tool in sorted(self.window.offered or (), key=len, reverse=True):
            key = call.name.removeprefix(tool)
            if tool and key and key != call.name and self.window.is_property(tool, key):
                offset = self.table.tags[cursor].start
                call.repairs.append(Repair("missing_key_open", offset, f"{tool} + {key}"))
                call.name = tool
                call.needs_offer = True
                return key
        raise _Broken("malformed_call", call.start)

    def _key(self, cursor: int) -> tuple[str, int]:
        opened = self.table.tags[cursor]
        if self.table.kind(cursor + 1) is not Kind.KEY_CLOSE:
            raise _Broken("unterminated_call", opened.start)
        return self.text[opened.end : self.table.tags[cursor + 1].start].strip(), cursor + 1

    def _argument(self, call: FoundCall, key: str, cursor: int) -> tuple[int, int]:
        """The value for `key`; `cursor` stands on the key's closer."""
        position = self.table.tags[cursor].end
        cursor += 1
        while self.table.kind(cursor) is Kind.KEY_CLOSE and is_gap(
            self.text, position, self._start(cursor)
        ):
            call.repairs.append(Repair("stray_close_tags", position, key))
            position = self.table.tags[cursor].end
            cursor += 1
        if self.table.kind(cursor) is Kind.PARAM_OPEN and is_gap(
            self.text, position, self._start(cursor)
        ):
            position = self.table.tags[cursor].end
            cursor += 1
            while self._doubled(cursor):
                call.repairs.append(Repair("doubled_open_tag", position, key))
                call.needs_offer = True
                position = self.table.tags[cursor].end
                cursor += 1
            close = self._close(cursor)
        else:
            close = self.table.next_close[min(cursor, len(self.table))]
            torn = self.text[position : position + 64].lstrip().startswith("<arg")  # half a tag
            if close is None or close != cursor or torn:
                raise _Broken("malformed_call", position)
            call.repairs.append(Repair("missing_value_open", position, key))
            call.needs_offer = True
            # The break between the key's tag and the value's belongs to the tag that is missing.
            position += self.text.startswith("\n", position)
        if close is None:
            close = self._missing_close(cursor, position)
            if _TORN.search(self.text[max(position, self._start(close) - 64) : self._start(close)]):
                raise _Broken("ambiguous_close", position)
            call.repairs.append(Repair("missing_value_close", self._start(close), key))
            call.needs_offer = True
            after, following = self._start(close), close
        else:
            after, following = self.table.tags[close].end, close + 1
            close = self._last_of_value(call, cursor - 1, close)
        stop = self._start(close)
        if following == close and self.text[position:stop].endswith("\n"):
            stop -= 1  # the break before the next tag belongs to the closer that is missing
        raw = self.text[position:stop]
        call.arguments.append(Argument(key, raw, Written.INFER))
        return after, following

    def _last_of_value(self, call: FoundCall, index: int, close: int) -> int:
        if self.balanced or close <= index:
            return close
        last = self.table.last_of_value(index, close)
        if last is None:
            raise _Broken("ambiguous_close", self.table.tags[index].start)
        if last != close:
            call.repairs.append(Repair("doubled_close_tag", self.table.tags[last].end))
            call.needs_offer = True
        return last

    def _doubled(self, cursor: int) -> bool:
        """Whether a value's opener follows its opener at once and only one is ever closed."""
        if self.table.kind(cursor) is not Kind.PARAM_OPEN or not self.table.gap_after(cursor - 1):
            return False
        close = self.table.next_close[cursor]
        return close is not None and self.table.unbalanced(cursor, close)

    def _close(self, cursor: int) -> int | None:
        if self.balanced:
            close = self.table.partner.get(cursor - 1)
            return close if close is not None and self.table.boundary[close] else None
        close = self.table.next_close[cursor]
        if close is None or not self.table.unbalanced(cursor, close):
            return close
        return close if self._pair_ahead(cursor, close) is None else None

    def _pair_ahead(self, cursor: int, limit: int) -> int | None:
        """The first whole `<key>…</key> <value>` before `limit`: where a lost closer belongs."""
        for position in range(cursor, min(limit, cursor + 64)):
            if self.table.kind(position) is Kind.WRAP_CLOSE and self.table.closing_chain(position):
                return position
            if (
                self.table.kind(position) is Kind.KEY_OPEN
                and self.table.kind(position + 1) is Kind.KEY_CLOSE
                and self.table.kind(position + 2) is Kind.PARAM_OPEN
                and self.table.gap_after(position + 1)
            ):
                return position
        return None

    def _missing_close(self, cursor: int, position: int) -> int:
        stop = self._pair_ahead(cursor, len(self.table))
        if stop is None:
            for ahead in range(cursor, min(len(self.table), cursor + 64)):
                if self.table.kind(ahead) is Kind.WRAP_CLOSE:
                    stop = ahead
                    break
        if stop is None:
            raise _Broken("unterminated_call", position)
        if self.table.closes_between(cursor, stop):
            raise _Broken("ambiguous_close", position)
        return stop
