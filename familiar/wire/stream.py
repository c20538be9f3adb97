"""The incremental twin of `parse_output`: the same result for every way of cutting the text.

`feed` hands out text whose kind is already sure, for live views: reasoning until its mark,
content until the first thing that could become markup. From there it holds back. `finish` reads
the whole text once, with the same code as `parse_output`, so no chunking can change a result; the
deltas are only an early view of it. Each character is looked at a bounded number of times. Text
beyond the byte cap is counted and not kept.
"""

from __future__ import annotations

from familiar.wire.dialects import BYTE_ORDER_MARK, DIALECTS, PLAN_WIRES, TURN_ENDS, Dialect
from familiar.wire.offered import Tools
from familiar.wire.parse import parse_output, within_cap
from familiar.wire.result import DEFAULT_LIMITS, Delta, Limits, ParsedOutput

_PLAN_STOPS = ("<familiar", "{", "```", "continue", "[[")


class OutputParser:
    """Reads one answer piece by piece. Arguments are those of `parse_output`."""

    def __init__(
        self,
        *,
        dialect: str,
        tools: Tools | None = None,
        in_reasoning: bool = False,
        suffix: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._dialect = dialect
        self._tools = tools
        self._in_reasoning = in_reasoning
        self._suffix = suffix
        self._limits = limits
        self._chunks: list[str] = []
        self._bytes = 0
        self._full = False
        self._view = _LiveView(dialect, in_reasoning)

    def feed(self, chunk: str) -> tuple[Delta, ...]:
        """Take the next piece; hand out text that is sure to be reasoning or content by now."""
        if self._full:
            return ()
        room = self._limits.max_bytes - self._bytes
        kept = within_cap(chunk, room)
        if kept < len(chunk):
            # One character too many: enough for `finish` to see that the cap was passed.
            self._full = True
            chunk = chunk[: kept + 1]
        self._chunks.append(chunk)
        self._bytes += len(chunk.encode("utf-8", "surrogatepass"))
        return self._view.feed(chunk)

    def finish(self, finish_reason: str | None = None) -> ParsedOutput:
        """The reading of everything fed, equal to `parse_output` of the whole text."""
        return parse_output(
            "".join(self._chunks),
            dialect=self._dialect,
            tools=self._tools,
            finish_reason=finish_reason,
            in_reasoning=self._in_reasoning,
            suffix=self._suffix,
            limits=self._limits,
        )


class _LiveView:
    """Tells reasoning from content as text arrives, and stops at anything that may be markup."""

    def __init__(self, dialect: str, in_reasoning: bool) -> None:
        row = DIALECTS.get(dialect) or Dialect(
            dialect, (), _PLAN_STOPS if dialect in PLAN_WIRES else ("<", "[", "{", "]", "```")
        )
        self._row = row
        self._pending = ""
        self._spaces: list[str] = []
        self._reasoning = in_reasoning
        self._begun = False
        # Harmony frames everything in headers; there is nothing to show before they are read.
        self._held = not row.think_close
        self._stops = tuple(
            stop
            for stop in dict.fromkeys(
                (*row.stops, *row.dropped, row.think_open, row.think_close, *TURN_ENDS)
            )
            if stop
        )

    def feed(self, chunk: str) -> tuple[Delta, ...]:
        if self._held:
            return ()
        if self._begun and not self._pending and chunk.isspace():
            self._spaces.append(chunk)
            return ()
        self._pending += chunk
        found: list[Delta] = []
        while self._step(found):
            pass
        return tuple(found)

    def _step(self, found: list[Delta]) -> bool:
        """Handle one mark, or hand out the text before the first possible one.

        White space is held back until text follows it, in a list: a mark takes it away, and a
        megabyte of it must not be copied with each piece.
        """
        if not self._begun and not self._begin():
            return False
        stops = (self._row.think_close, *self._row.stops) if self._reasoning else self._stops
        position = self._first_stop(stops)
        safe, self._pending = self._pending[:position], self._pending[position:]
        text = safe.rstrip()
        if text:
            found.append(
                Delta("reasoning" if self._reasoning else "content", "".join(self._spaces) + text)
            )
            self._spaces.clear()
        if len(safe) > len(text):
            self._spaces.append(safe[len(text) :])
        if self._reasoning and self._pending.startswith(self._row.think_close):
            self._reasoning = False
            self._begun = False
            self._spaces.clear()
            self._pending = self._pending.removeprefix(self._row.think_close)
            return True
        if any(self._pending.startswith(stop) for stop in stops):
            self._held = True
            self._pending = ""
        return False

    def _begin(self) -> bool:
        """At the start of a part: drop white space, see whether reasoning opens."""
        self._pending = self._pending.lstrip().removeprefix(BYTE_ORDER_MARK).lstrip()
        opener = self._row.think_open
        if not self._pending or opener.startswith(self._pending):
            return False
        self._begun = True
        if self._pending.startswith(opener):
            self._pending = self._pending.removeprefix(opener).removeprefix(self._row.think_label)
            self._reasoning = True
            self._pending = self._pending.lstrip()
        return True

    def _first_stop(self, stops: tuple[str, ...]) -> int:
        """The offset of the first whole mark, or of an ending that may become one."""
        best = len(self._pending)
        for stop in stops:
            at = self._pending.find(stop) if stop else -1
            if at >= 0:
                best = min(best, at)
                continue
            for size in range(min(len(stop) - 1, len(self._pending)), 0, -1):
                if self._pending.endswith(stop[:size]):
                    best = min(best, len(self._pending) - size)
                    break
        return best
