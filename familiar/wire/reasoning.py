"""Where a model's reasoning ends and its answer begins.

Reasoning is framed by a pair of marks; the opener often stands in the prompt, so the answer may
begin inside the frame (`in_reasoning`) or show only the closer. What is drafted inside reasoning
is no act. If the frame never closes, everything is reasoning, unless its very end is a complete
call: then the model has acted and only forgot the mark (`parse` decides that, with the scanners).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from familiar.wire.dialects import Dialect
from familiar.wire.found import Ahead
from familiar.wire.result import Repair


@dataclass(slots=True)
class Split:
    """`reasoning` texts, the spans that are no answer, and where the answer begins.

    `unclosed` is the offset of reasoning that never ended, or none.
    """

    start: int = 0
    reasoning: list[str] = field(default_factory=list)
    removed: list[tuple[int, int]] = field(default_factory=list)
    unclosed: int | None = None
    closed: bool = False
    repairs: list[Repair] = field(default_factory=list)


def split_reasoning(text: str, dialect: Dialect, *, in_reasoning: bool) -> Split:
    """Find the frames of reasoning in `text`."""
    split = Split()
    if not dialect.think_close:
        return split
    if dialect.think_anywhere:
        _everywhere(text, dialect, split, in_reasoning)
        return split
    begun = len(text) - len(text.lstrip())
    opened = text.startswith(dialect.think_open, begun)
    if in_reasoning or opened:
        start = begun + len(dialect.think_open) if opened else 0
        close = text.find(dialect.think_close, start)
        if close < 0:
            split.unclosed = start
            split.start = start
            return split
        _close(text, split, start, close, dialect)
        return split
    close = text.find(dialect.think_close)
    if close < 0:
        return split
    if not text[:close].strip():
        split.removed.append((0, close + len(dialect.think_close)))
        _answer_from(text, split, close + len(dialect.think_close), dialect.think_close)
    elif dialect.implicit_think:
        split.repairs.append(Repair("missing_reasoning_open", 0))
        _close(text, split, 0, close, dialect)
    return split


def _close(text: str, split: Split, start: int, close: int, dialect: Dialect) -> None:
    split.reasoning.append(text[start:close])
    split.removed.append((0, close + len(dialect.think_close)))
    _answer_from(text, split, close + len(dialect.think_close), dialect.think_close)


def _answer_from(text: str, split: Split, position: int, closer: str) -> None:
    """The answer begins behind the mark, its repetitions, and the white space that follows."""
    split.closed = True
    repeated = re.compile(rf"\s*+(?:{re.escape(closer)}\s*+)*+").match(text, position)
    split.start = repeated.end() if repeated else position
    if text[position : split.start].strip():
        split.repairs.append(Repair("stray_reasoning_close", position))


def _everywhere(text: str, dialect: Dialect, split: Split, in_reasoning: bool) -> None:
    """Frames may stand anywhere and several times; a closer that closes nothing is dropped."""
    opener, closer = dialect.think_open, dialect.think_close
    openers = Ahead(re.compile(re.escape(opener)), text, len(text))
    closers = Ahead(re.compile(re.escape(closer)), text, len(text))
    position = 0
    depth_start = 0 if in_reasoning else None
    while True:
        opened = _offset(openers.at(position)) if depth_start is None else -1
        closed = _offset(closers.at(position))
        if depth_start is not None:
            if closed < 0:
                split.unclosed = depth_start
                split.start = depth_start
                return
            inner = text[depth_start:closed]
            while inner.startswith(opener):
                inner = inner.removeprefix(opener)
            split.reasoning.append(inner.removeprefix(dialect.think_label))
            begin = max(0, depth_start - len(opener)) if depth_start else 0
            split.removed.append((begin, closed + len(closer)))
            split.closed = True
            position, depth_start = closed + len(closer), None
        elif opened >= 0 and (closed < 0 or opened < closed):
            position = depth_start = opened + len(opener)
        elif closed >= 0:
            split.removed.append((closed, closed + len(closer)))
            position = closed + len(closer)
        else:
            return


def _offset(match: re.Match[str] | None) -> int:
    return -1 if match is None else match.start()
