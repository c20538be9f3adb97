"""One argument between tags: the end of its value, its name, and how it was written.

A value is the text between its tags, so it may contain the very tags that frame it. Two readings
are made, in this order, and each must explain the whole text:

1. *first boundary*: a value ends at the first closer that a structural tag (or the end) follows;
2. *balanced*: as above, but openers inside a value take their own closers with them. Used when the
   first reading leaves a closing chain behind, the mark of a call quoted inside a value.

When neither explains the text, the closers are ambiguous, and nothing is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from familiar.wire.found import Argument, FoundCall, Written, at_line_start, is_gap
from familiar.wire.result import Problem, Repair
from familiar.wire.tokens import Kind, Tag, TagTable, read_attributes

# Half a tag, or a misspelt closer of a value.
_TORN = re.compile(
    r"<[^<>\n]{0,48}\s?\Z|</[^<>\n]{0,16}(?:DSML|param|arg)[^<>\n]{0,32}>\s{0,8}\Z",
    re.IGNORECASE,
)
NOT_A_CALL = "not_a_call"
_AHEAD = 64
"""How many tags a reader looks ahead for the end of a value whose closer is missing."""


class Broken(Exception):
    """The markup at this tag cannot be read; carries the problem's name and sentence."""

    def __init__(self, name: str, offset: int, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(name, offset, message)


@dataclass(frozen=True, slots=True)
class TagMarkup:
    """`<wrapper> <call NAME> <param KEY> value </param> </call> </wrapper>`, text between tags.

    The patterns match one tag each; without wrapper, every call stands alone. `call_open` and
    `param_open` carry the name in group 1, or attributes (`attributes=True`). `framed`: a value
    stands on lines of its own. `key_close`, `value_open`: the two tags between a key and its value,
    in dialects that write a key as an element; `param_open` matches all up to the value.
    """

    call_open: str
    call_close: str
    param_open: str
    param_close: str
    wrap_open: str = ""
    wrap_close: str = ""
    attributes: bool = False
    framed: bool = False
    key_close: str = ""
    value_open: str = ""
    probes: tuple[str, ...] = ("<function=", "<parameter=", "tool_call>")  # without any: no tags
    mark: str = ""  # a tag without this text is a plain spelling of the dialect's own tag
    foreign_call_open: str = ""  # another model's opener that this one is known to drift into


class ValueReader:
    """The arguments in one `TagTable`, under one of the two readings."""

    def __init__(self, table: TagTable, markup: TagMarkup, balanced: bool) -> None:
        self.table = table
        self.text = table.text
        self.end = table.window.end
        self.window = table.window
        self.markup = markup
        self.balanced = balanced

    def start(self, cursor: int) -> int:
        """Where tag `cursor` starts; behind the last tag, the end of the text."""
        return self.table.tags[cursor].start if cursor < len(self.table) else self.end

    def gap(self, position: int, cursor: int) -> bool:
        """Whether nothing but white space stands between `position` and tag `cursor`."""
        return is_gap(self.text, position, self.start(cursor))

    def shorthand(self, call: FoundCall, index: int) -> bool:
        """An argument written as a self-closing tag with its value in an attribute."""
        tag = self.table.tags[index]
        attributes = read_attributes(tag.carried)
        value = attributes.get("string", attributes.get("value"))
        if not tag.text.endswith("/>") or value is None or "name" not in attributes:
            return False
        call.arguments.append(Argument(attributes["name"], value, Written.STRING))
        call.repairs.append(Repair("value_in_attribute", tag.start, attributes["name"]))
        return True

    def argument(self, call: FoundCall, index: int) -> tuple[int, int]:
        """Read the argument that tag `index` opens: the offset behind it, and the next tag."""
        first = self.table.tags[index]
        while self._doubled(index):
            call.repairs.append(Repair("doubled_open_tag", self.table.tags[index].start))
            index += 1
            self.table.spend(1)
        tag = self.table.tags[index]
        key, written = self._key(call, first)
        if self.markup.attributes and self.shorthand(call, index):
            return tag.end, index + 1
        begin = self._begin(call, index, key)
        close = self._value_close(call, index)
        if close is not None:
            stop = self.table.tags[self._last_of_value(call, index, close)].start
            cursor, after = close + 1, self.table.tags[close].end
        else:
            nested = self._nested(call, index, key)
            if nested is not None:
                return nested
            cursor = self._missing_close(call, index)
            stop = after = self.table.tags[cursor].start
            call.repairs.append(Repair("missing_value_close", stop, key))
            if _TORN.search(self.text[max(begin, stop - 96) : stop]):
                name = repr(call.name)
                message = f"An argument of the call to {name} ends in half a tag or a wrong one."
                raise Broken("ambiguous_close", stop, message)
            # The break before the next tag belongs to the closer that is missing.
            blank = self.text[begin:stop].endswith("\n\n")
            if blank or (self.text[stop - 1] == "\n" and not self._is_framed(begin)):
                stop -= 1
        self.table.spend(1, stop - begin)
        if written is Written.VERBATIM and self._is_framed(begin):
            written = Written.INFER
        call.arguments.append(Argument(key, self._value(begin, stop), written))
        return after, cursor

    def _doubled(self, index: int) -> bool:
        """Whether the same opener follows at once and only one of the two is ever closed."""
        if self.table.kind(index + 1) is not Kind.PARAM_OPEN or not self.table.gap_after(index):
            return False
        close = self.table.next_close[index + 1]
        same = self.table.tags[index].text.endswith(self.table.tags[index + 1].text)
        return same and close is not None and self.table.surplus_open(index + 1, close) > 0

    def _key(self, call: FoundCall, tag: Tag) -> tuple[str, Written]:
        if self.markup.key_close:
            return self._element_key(call, tag), Written.INFER
        if not self.markup.attributes:
            name = plain_name(tag.carried, partial(self.window.is_property, call.name))
            return name, Written.VERBATIM
        attributes = read_attributes(tag.carried)
        if any(mark in tag.carried for mark in "“”‘’"):
            call.repairs.append(Repair("typographic_quotes", tag.start))
        if "name" not in attributes:
            message = f"An argument of the call to {call.name!r} has no name."
            raise Broken("missing_name", tag.start, message)
        text = attributes.get("string") == "true"
        return attributes["name"], Written.STRING if text else Written.INFER

    def _element_key(self, call: FoundCall, tag: Tag) -> str:
        """The key of an opener that holds it as an element, perhaps without the key's own opener:
        `send_mailto</arg_key>` is the tool `send_mail` and its argument `to`, if it can be."""
        _, closed, rest = tag.text.partition(self.markup.key_close)
        key = tag.carried.strip()
        if not key and not call.arguments:
            for tool in sorted(self.window.offered, key=len, reverse=True):
                glued = call.name.removeprefix(tool)
                if tool and glued not in ("", call.name) and self.window.is_property(tool, glued):
                    call.repairs.append(Repair("missing_key_open", tag.start, f"{tool} + {glued}"))
                    call.name, key = tool, glued
                    break
        if not closed or not key:
            message = "The call stops before its end or mixes its tags. Write the whole call again."
            raise Broken("malformed_call", tag.start, message)
        if self.markup.key_close in rest:
            call.repairs.append(Repair("stray_close_tags", tag.start, key))
        return key

    def _begin(self, call: FoundCall, index: int, key: str) -> int:
        """Where the value behind tag `index` begins; the value's own opener may be missing."""
        tag = self.table.tags[index]
        if tag.text.endswith(self.markup.value_open):
            return tag.end
        close = self.table.next_close[index + 1]
        torn = self.text[tag.end : tag.end + 64].lstrip().startswith("<arg")  # half a tag
        if close != index + 1 or torn:
            message = f"An argument of the call to {call.name!r} does not begin with its tag."
            raise Broken("malformed_call", tag.end, message)
        call.repairs.append(Repair("missing_value_open", tag.end, key))
        # The break between the key's tag and the value's belongs to the tag that is missing.
        return tag.end + self.text.startswith("\n", tag.end)

    def _value_close(self, call: FoundCall, index: int) -> int | None:
        """The closer of the value that tag `index` opens; none where it was forgotten."""
        if self.balanced:
            close = self.table.partner.get(index)
            return close if close is not None and self.table.boundary[close] else None
        close = self.table.next_close[index + 1]
        if close is None or self.table.surplus_open(index + 1, close) <= 0:
            return close
        # An opener inside the value took this closer. Was the value's own closer forgotten?
        return close if self._sibling(call, index, close) is None else None

    def _last_of_value(self, call: FoundCall, index: int, close: int) -> int:
        """The closer that ends the value between tags `index` and `close`.

        Notes a doubled one; raises `Broken` for one that is unclear.
        """
        if self.balanced or close <= index:
            return close
        self.table.spend(close - index)
        last = self.table.last_of_value(index, close)
        if last is None:
            offset = self.table.tags[index].start
            message = f"An argument of the call to {call.name!r} has a closing tag too many."
            raise Broken("ambiguous_close", offset, message)
        if last != close:
            call.repairs.append(Repair("doubled_close_tag", self.table.tags[last].end))
        return last

    def _ahead(self, index: int, limit: int) -> range:
        """The tags behind `index`, up to `limit`, that may end a value without closer."""
        found = range(index + 1, min(limit, index + 1 + _AHEAD))
        self.table.spend(len(found))
        return found

    def _sibling(self, call: FoundCall, index: int, limit: int) -> int | None:
        """The first tag before `limit` that a value without closer would end at."""
        self.table.spend(len(call.arguments))
        taken = {argument.key for argument in call.arguments}
        for position in self._ahead(index, limit):
            tag = self.table.tags[position]
            if tag.kind is Kind.CALL_CLOSE and self.table.closing_chain(position):
                return position
            if tag.kind is not Kind.PARAM_OPEN:
                continue
            if self.markup.key_close:
                if tag.carried and tag.text.endswith(self.markup.value_open):
                    return position
            elif at_line_start(self.text, tag.start):
                key, _ = self._key(FoundCall(call.name, [], 0, 0), tag)
                if key not in taken and self.window.is_property(call.name, key):
                    return position
                if self.markup.attributes and self.gap(self.table.tags[index].end, position):
                    return position
        return None

    def _missing_close(self, call: FoundCall, index: int) -> int:
        """The tag before which the value of tag `index` ends, as its closer is missing."""
        limit = self.table.next_close[index + 1]
        stop = self._sibling(call, index, len(self.table) if limit is None else limit)
        if stop is None:
            ends = (Kind.CALL_CLOSE, Kind.WRAP_CLOSE)
            ahead = self._ahead(index, len(self.table))
            stop = next(
                (
                    at
                    for at in ahead
                    if self.table.kind(at) in ends and self.table.closing_chain(at)
                ),
                None,
            )
        offset = self.table.tags[index].start
        if stop is None:
            message = (
                f"The call to {call.name!r} stops inside an argument. Write the whole call again."
            )
            raise Broken("unterminated_call", offset, message)
        if self.table.closes_between(index + 1, stop):
            message = f"An argument of the call to {call.name!r} has no closer at a tag boundary."
            raise Broken("ambiguous_close", offset, message)
        return stop

    def _nested(self, call: FoundCall, index: int, key: str) -> tuple[int, int] | None:
        """Arguments inside an argument whose own closer is missing: one object."""
        cursor = index + 1
        if self.table.kind(cursor) is not Kind.PARAM_OPEN or not self.table.gap_after(index):
            return None
        inner = FoundCall(call.name, [], call.start, call.end)
        position = self.table.tags[index].end
        while self.table.kind(cursor) is Kind.PARAM_OPEN and self.gap(position, cursor):
            tag = self.table.tags[cursor]
            name, _ = self._key(inner, tag)
            if self.window.tools.known and self.window.is_property(call.name, name):
                return None
            close = self.table.next_close[cursor + 1]
            if close is None:
                return None
            closer = self.table.tags[close]
            self.table.spend(1, closer.start - tag.end)
            inner.arguments.append(
                Argument(name, self.text[tag.end : closer.start], Written.STRING)
            )
            position, cursor = closer.end, close + 1
        call.repairs.append(Repair("nested_arguments", self.table.tags[index].start, key))
        value = {argument.key: argument.raw for argument in inner.arguments}
        call.arguments.append(Argument(key, "", Written.VALUE, value=dict(value)))
        return position, cursor

    def _is_framed(self, start: int) -> bool:
        return self.markup.framed and self.text.startswith(("\n", "\r\n"), start)

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
