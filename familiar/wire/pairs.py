"""Calls written as a name and key/value tags: GLM 4.5, 4.6, 4.7 and their kin.

A value ends by the rules of `tagreader`. Repaired are a value without opener or closer, a doubled
key closer, a name glued to its first key; the last only if the glued word splits into an offered
tool and one of its arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from familiar.wire.found import Argument, Block, FoundCall, Window, Written
from familiar.wire.result import Repair
from familiar.wire.tagreader import NOT_A_CALL, Broken, TableReader, read_table
from familiar.wire.tokens import Kind, TagTable

_NAME = re.compile(r"[^\s<>\"'`,;:!?(){}]{1,256}")


@dataclass(frozen=True, slots=True)
class PairSyntax:
    """`<call>NAME <key>k</key> <value>v</value> </call>`."""

    call_open: str
    call_close: str
    key_open: str
    key_close: str
    value_open: str
    value_close: str

    def scan(self, window: Window) -> list[Block]:
        if not re.search(self.call_open, window.text):
            return []
        patterns = (
            (Kind.WRAP_OPEN, self.call_open),
            (Kind.WRAP_CLOSE, self.call_close),
            (Kind.KEY_OPEN, self.key_open),
            (Kind.KEY_CLOSE, self.key_close),
            (Kind.PARAM_OPEN, self.value_open),
            (Kind.PARAM_CLOSE, self.value_close),
        )
        table = TagTable(window, patterns)
        return read_table(table, lambda balanced: _PairReader(table, balanced))


def _broken(name: str, offset: int) -> Broken:
    message = "The call stops before its end or mixes its tags. Write the whole call again."
    return Broken(name, offset, message)


class _PairReader(TableReader):
    openers = frozenset({Kind.WRAP_OPEN})
    call_close = Kind.WRAP_CLOSE

    def block(self, index: int) -> tuple[Block | None, int]:
        opened = self.table.tags[index]
        try:
            call, cursor = self._call(index)
        except Broken as broken:
            if broken.problem.name == NOT_A_CALL:
                return None, index + 1
            return self.rejected(Block(opened.start, opened.end), broken, index)
        if call is None:
            return Block(opened.start, self.table.tags[cursor - 1].end), cursor
        return Block(opened.start, call.end, [call]), cursor

    def _call(self, index: int) -> tuple[FoundCall | None, int]:
        opened = self.table.tags[index]
        cursor = index + 1
        stop = self.start(cursor)
        if stop - opened.end > 512:
            raise _broken(NOT_A_CALL, opened.start)
        name = self.text[opened.end : stop].replace("\\n", " ").strip()
        following = self.table.kind(cursor)
        if not name and following is Kind.WRAP_CLOSE:
            return None, cursor + 1
        if not _NAME.fullmatch(name):
            named = following is not Kind.KEY_OPEN
            raise _broken(NOT_A_CALL if named else "missing_name", opened.start)
        if following is None:
            raise _broken("unterminated_call", opened.start)
        call = FoundCall(name, [], opened.start, opened.end)
        key = ""
        if following is Kind.KEY_CLOSE:
            key = self._split_glued(call, cursor)
        position = stop
        while True:
            kind = self.table.kind(cursor)
            if not key and not self.gap(position, cursor):
                raise _broken("malformed_call", position)
            if kind is Kind.WRAP_CLOSE and not key:
                call.end = self.table.tags[cursor].end
                return call, cursor + 1
            if kind is Kind.KEY_OPEN and not key:
                key, cursor = self._key(cursor)
            elif kind is not Kind.KEY_CLOSE and not key:
                raise _broken("unterminated_call", position)
            position, cursor = self._argument(call, key, cursor)
            key = ""

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
        raise _broken("malformed_call", call.start)

    def _key(self, cursor: int) -> tuple[str, int]:
        opened = self.table.tags[cursor]
        if self.table.kind(cursor + 1) is not Kind.KEY_CLOSE:
            raise _broken("unterminated_call", opened.start)
        return self.text[opened.end : self.table.tags[cursor + 1].start].strip(), cursor + 1

    def _argument(self, call: FoundCall, key: str, cursor: int) -> tuple[int, int]:
        """The value for `key`; `cursor` stands on the key's closer."""
        position = self.table.tags[cursor].end
        cursor += 1
        while self.table.kind(cursor) is Kind.KEY_CLOSE and self.gap(position, cursor):
            call.repairs.append(Repair("stray_close_tags", position, key))
            position = self.table.tags[cursor].end
            cursor += 1
        if self.table.kind(cursor) is Kind.PARAM_OPEN and self.gap(position, cursor):
            position = self.table.tags[cursor].end
            cursor += 1
            while self.doubled(cursor - 1):
                call.repairs.append(Repair("doubled_open_tag", position, key))
                call.needs_offer = True
                position = self.table.tags[cursor].end
                cursor += 1
                self.table.spend(1)
            close = self.value_close(call, cursor - 1)
        else:
            close = self.table.next_close[min(cursor, len(self.table))]
            torn = self.text[position : position + 64].lstrip().startswith("<arg")  # half a tag
            if close is None or close != cursor or torn:
                raise _broken("malformed_call", position)
            call.repairs.append(Repair("missing_value_open", position, key))
            call.needs_offer = True
            # The break between the key's tag and the value's belongs to the tag that is missing.
            position += self.text.startswith("\n", position)
        if close is None:
            close = self._missing_close(cursor, position)
            self.check_torn(call, position, self.start(close))
            call.repairs.append(Repair("missing_value_close", self.start(close), key))
            call.needs_offer = True
            after, following = self.start(close), close
        else:
            after, following = self.table.tags[close].end, close + 1
            close = self.last_of_value(call, cursor - 1, close)
        stop = self.start(close)
        if following == close and self.text[position:stop].endswith("\n"):
            stop -= 1  # the break before the next tag belongs to the closer that is missing
        self.table.spend(1, stop - position)
        call.arguments.append(Argument(key, self.text[position:stop], Written.INFER))
        return after, following

    def sibling(self, call: FoundCall, index: int, limit: int) -> int | None:
        """The first whole `<key>…</key> <value>` before `limit`, or the end of the call."""
        for position in self.ahead(index, limit):
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
        stop = self.sibling(FoundCall("", [], 0, 0), cursor - 1, len(self.table))
        if stop is None:
            ahead = self.ahead(cursor - 1, len(self.table))
            stop = next((at for at in ahead if self.table.kind(at) is Kind.WRAP_CLOSE), None)
        if stop is None:
            raise _broken("unterminated_call", position)
        if self.table.closes_between(cursor, stop):
            raise _broken("ambiguous_close", position)
        return stop
