"""Rules for calls of tags around plain text, which `tags` and `pairs` share.

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

from familiar.wire.found import Block, FoundCall, is_gap
from familiar.wire.result import Problem, Repair
from familiar.wire.tokens import Kind, TagTable

# Half a tag, or a misspelt closer of a value.
_TORN = re.compile(
    r"<[^<>\n]{0,48}\s?\Z|</[^<>\n]{0,16}(?:DSML|param|arg)[^<>\n]{0,32}>\s{0,8}\Z",
    re.IGNORECASE,
)
NOT_A_CALL = "not_a_call"
AHEAD = 64
"""How many tags a reader looks ahead for the end of a value whose closer is missing."""


class Broken(Exception):
    """The markup at this tag cannot be read; carries the problem's name and sentence."""

    def __init__(self, name: str, offset: int, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(name, offset, message)


class TableReader:
    """One reading of a `TagTable`. A subclass says how one block is read, and where a value
    without closer would end."""

    openers: frozenset[Kind]
    call_close: Kind

    def __init__(self, table: TagTable, balanced: bool) -> None:
        self.table = table
        self.text = table.text
        self.end = table.window.end
        self.window = table.window
        self.balanced = balanced

    def block(self, index: int) -> tuple[Block | None, int]:
        """The block that tag `index` opens, and the tag behind it."""
        raise NotImplementedError

    def sibling(self, call: FoundCall, index: int, limit: int) -> int | None:
        """The first tag before `limit` that a value opened by tag `index` would end at."""
        raise NotImplementedError

    def read(self) -> tuple[list[Block], bool]:
        """Blocks, and whether a closing chain was left that belongs to none of them."""
        blocks: list[Block] = []
        orphaned = called = False
        index = 0
        while index < len(self.table):
            kind = self.table.kind(index)
            if kind in self.openers:
                block, index = self.block(index)
                if block is not None:
                    blocks.append(block)
                    called |= bool(block.calls)
                continue
            if kind is Kind.PARAM_CLOSE and self.table.boundary[index] and called:
                orphaned |= self.table.kind(index + 1) is self.call_close
            index += 1
        return blocks, orphaned

    def start(self, cursor: int) -> int:
        """Where tag `cursor` starts; behind the last tag, the end of the text."""
        return self.table.tags[cursor].start if cursor < len(self.table) else self.end

    def gap(self, position: int, cursor: int) -> bool:
        """Whether nothing but white space stands between `position` and tag `cursor`."""
        return is_gap(self.text, position, self.start(cursor))

    def rejected(self, block: Block, broken: Broken, index: int) -> tuple[Block, int]:
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

    def doubled(self, index: int) -> bool:
        """Whether the same opener follows at once and only one of the two is ever closed."""
        if self.table.kind(index + 1) is not Kind.PARAM_OPEN or not self.table.gap_after(index):
            return False
        close = self.table.next_close[index + 1]
        same = self.table.tags[index].text == self.table.tags[index + 1].text
        return same and close is not None and self.table.unbalanced(index + 1, close)

    def value_close(self, call: FoundCall, index: int) -> int | None:
        """The closer of the value that tag `index` opens; none where it was forgotten."""
        if self.balanced:
            close = self.table.partner.get(index)
            return close if close is not None and self.table.boundary[close] else None
        close = self.table.next_close[index + 1]
        if close is None or not self.table.unbalanced(index + 1, close):
            return close
        # An opener inside the value took this closer. Was the value's own closer forgotten?
        return close if self.sibling(call, index, close) is None else None

    def last_of_value(self, call: FoundCall, index: int, close: int) -> int:
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
            call.needs_offer = True
        return last

    def ahead(self, index: int, limit: int) -> range:
        """The tags behind `index`, up to `limit`, that may end a value without closer."""
        found = range(index + 1, min(limit, index + 1 + AHEAD))
        self.table.spend(len(found))
        return found

    def check_torn(self, call: FoundCall, begin: int, stop: int) -> None:
        """Raises `Broken` where a value without closer ends in half a tag, or in a wrong one."""
        if _TORN.search(self.text[max(begin, stop - 96) : stop]):
            message = f"An argument of the call to {call.name!r} ends in half a tag or a wrong one."
            raise Broken("ambiguous_close", stop, message)


def read_table(table: TagTable, reader: Callable[[bool], TableReader]) -> list[Block]:
    """The blocks of the first reading that explains the text, or one problem.

    `reader` makes the balanced reading or the other.
    """
    for balanced in (False, True):
        blocks, orphaned = reader(balanced).read()
        if not orphaned:
            return blocks
    start = min((block.start for block in blocks), default=table.window.start)
    message = (
        "The call contains its own closing tags in a way that can be read as two different calls. "
        "Send it again with the quoted markup left out, or write the text to a file in parts."
    )
    return [Block(start, table.window.end, problems=[Problem("ambiguous_close", start, message)])]
