"""The incremental twin of `parse_output`: the same result for every way of cutting the text.

Pieces are kept until `finish` reads the whole text once, with the code of `parse_output`, so no
chunking can change a result. Text beyond the byte cap is counted and not kept.
"""

from __future__ import annotations

from familiar.wire.limits import MAX_BYTES
from familiar.wire.offered import Tools
from familiar.wire.parse import parse_output, within_cap
from familiar.wire.result import ParsedOutput


class OutputParser:
    """Reads one answer piece by piece. Arguments are those of `parse_output`."""

    def __init__(
        self,
        *,
        dialect: str,
        tools: Tools | None = None,
        in_reasoning: bool = False,
        suffix: str | None = None,
    ) -> None:
        self._dialect = dialect
        self._tools = tools
        self._in_reasoning = in_reasoning
        self._suffix = suffix
        self._chunks: list[str] = []
        self._room = MAX_BYTES

    def feed(self, chunk: str) -> None:
        """Take the next piece."""
        if self._room < 0:
            return
        # One character too many: enough for `finish` to see that the cap was passed.
        kept = chunk[: within_cap(chunk, self._room) + 1]
        self._chunks.append(kept)
        self._room -= len(kept.encode("utf-8", "surrogatepass"))

    def finish(self, finish_reason: str | None = None) -> ParsedOutput:
        """The reading of everything fed, equal to `parse_output` of the whole text."""
        return parse_output(
            "".join(self._chunks),
            dialect=self._dialect,
            tools=self._tools,
            finish_reason=finish_reason,
            in_reasoning=self._in_reasoning,
            suffix=self._suffix,
        )
