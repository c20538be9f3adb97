"""One argument between tags: the end of its value, its name, and how it was written.

The value's end is the hard part, since a value may contain the tags that frame it; `tagreader` says
which readings there are. Here each is one rule over a `TagTable`, which knows what lies ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from familiar.wire.found import Argument, FoundCall, Written, is_gap
from familiar.wire.result import Repair
from familiar.wire.tagreader import Broken, TableReader
from familiar.wire.tokens import Kind, TagTable, read_attributes


class ArgumentReader(TableReader):
    """Reads the arguments of calls in one `TagTable`, under one of the two readings.

    `attributes`: names stand in attributes; `framed`: a value stands on lines of its own.
    """

    def __init__(self, table: TagTable, balanced: bool, *, attributes: bool, framed: bool) -> None:
        super().__init__(table, balanced)
        self.attributes = attributes
        self.framed = framed

    def shorthand(self, call: FoundCall, index: int) -> bool:
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

    def argument(self, call: FoundCall, index: int) -> tuple[int, int]:
        """Read the argument that tag `index` opens: the offset behind it, and the next tag."""
        while self.doubled(index):
            call.repairs.append(Repair("doubled_open_tag", self.table.tags[index].start))
            call.needs_offer = True
            index += 1
            self.table.spend(1)
        tag = self.table.tags[index]
        key, written = self._key(call, index)
        if self.attributes and self.shorthand(call, index):
            return tag.end, index + 1
        close = self.value_close(call, index)
        if close is not None:
            stop = self.table.tags[self.last_of_value(call, index, close)].start
            cursor, after = close + 1, self.table.tags[close].end
        else:
            nested = self._nested(call, index, key)
            if nested is not None:
                return nested
            stop, cursor = self._missing_close(call, index)
            after = stop
            call.repairs.append(Repair("missing_value_close", stop, key))
            call.needs_offer = True
            self.check_torn(call, tag.end, stop)
            # The break before the next tag belongs to the closer that is missing.
            blank = self.text[tag.end : stop].endswith("\n\n")
            if blank or (self.text[stop - 1] == "\n" and not self._is_framed(tag.end)):
                stop -= 1
        self.table.spend(1, stop - tag.end)
        call.arguments.append(Argument(key, self._value(tag.end, stop), written))
        if written is Written.VERBATIM and self._is_framed(tag.end):
            call.arguments[-1].written = Written.FRAMED
        return after, cursor

    def _key(self, call: FoundCall, index: int) -> tuple[str, Written]:
        tag = self.table.tags[index]
        if not self.attributes:
            name = plain_name(tag.carried, partial(self.window.is_property, call.name))
            return name, Written.VERBATIM
        attributes = read_attributes(tag.carried)
        if any(mark in tag.carried for mark in "“”‘’"):
            call.repairs.append(Repair("typographic_quotes", tag.start))
            call.needs_offer = True
        if "name" not in attributes:
            message = f"An argument of the call to {call.name!r} has no name."
            raise Broken("missing_name", tag.start, message)
        declared = {"true": Written.STRING, "false": Written.JSON}
        return attributes["name"], declared.get(attributes.get("string", ""), Written.INFER)

    def sibling(self, call: FoundCall, index: int, limit: int) -> int | None:
        """The first tag before `limit` that a value without closer would end at."""
        self.table.spend(len(call.arguments))
        taken = {argument.key for argument in call.arguments}
        for position in self.ahead(index, limit):
            tag = self.table.tags[position]
            if tag.kind is Kind.CALL_CLOSE and self.table.closing_chain(position):
                return position
            if tag.kind is Kind.PARAM_OPEN and at_line_start(self.text, tag.start):
                key, _ = self._key(FoundCall(call.name, [], 0, 0), position)
                if key not in taken and self.window.is_property(call.name, key):
                    return position
                if self.attributes and is_gap(self.text, self.table.tags[index].end, tag.start):
                    return position
        return None

    def _missing_close(self, call: FoundCall, index: int) -> tuple[int, int]:
        limit = self.table.next_close[index + 1]
        stop = self.sibling(call, index, len(self.table) if limit is None else limit)
        if stop is None:
            for position in self.ahead(index, len(self.table)):
                if self.table.kind(position) in (Kind.CALL_CLOSE, Kind.WRAP_CLOSE):
                    stop = position if self.table.closing_chain(position) else None
                    if stop is not None:
                        break
        offset = self.table.tags[index].start
        if stop is None:
            message = (
                f"The call to {call.name!r} stops inside an argument. Write the whole call again."
            )
            raise Broken("unterminated_call", offset, message)
        if self.table.closes_between(index + 1, stop):
            message = f"An argument of the call to {call.name!r} has no closer at a tag boundary."
            raise Broken("ambiguous_close", offset, message)
        return self.table.tags[stop].start, stop

    def _nested(self, call: FoundCall, index: int, key: str) -> tuple[int, int] | None:
        """Arguments inside an argument whose own closer is missing: one object."""
        cursor = index + 1
        if self.table.kind(cursor) is not Kind.PARAM_OPEN or not self.table.gap_after(index):
            return None
        inner = FoundCall(call.name, [], call.start, call.end)
        position = self.table.tags[index].end
        while self.table.kind(cursor) is Kind.PARAM_OPEN and self.gap(position, cursor):
            name, _ = self._key(inner, cursor)
            if self.window.offered is not None and self.window.is_property(call.name, name):
                return None
            close = self.table.next_close[cursor + 1]
            if close is None:
                return None
            tag, closer = self.table.tags[cursor], self.table.tags[close]
            self.table.spend(1, closer.start - tag.end)
            inner.arguments.append(
                Argument(name, self.text[tag.end : closer.start], Written.STRING)
            )
            position, cursor = closer.end, close + 1
        call.repairs.append(Repair("nested_arguments", self.table.tags[index].start, key))
        call.needs_offer = True
        value = {argument.key: argument.raw for argument in inner.arguments}
        call.arguments.append(Argument(key, "", Written.VALUE, value=dict(value)))
        return position, cursor

    def _is_framed(self, start: int) -> bool:
        return self.framed and self.text.startswith(("\n", "\r\n"), start)

    def _value(self, start: int, stop: int) -> str:
        """The text between two tags, without the line breaks that frame it in framed dialects."""
        value = self.text[start:stop]
        if not self._is_framed(start):
            return value
        value = value[1:] if value.startswith("\n") else value[2:]
        return value.removesuffix("\n").removesuffix("\r") if value.endswith("\n") else value


def plain_name(written: str, known: Callable[[str], bool]) -> str:
    """A name as a tag has it; without quotation marks where only that is a known name."""
    name = written.strip()
    bare = name.strip("\"'“”")
    return bare if not known(name) and known(bare) else name


def at_line_start(text: str, position: int) -> bool:
    line = text.rfind("\n", max(0, position - 256), position)
    if line < 0 and position > 256:
        return False
    return not text[line + 1 : position].strip()
