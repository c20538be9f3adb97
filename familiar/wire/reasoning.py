"""Where a model's reasoning ends and its answer begins.

Reasoning is framed by a pair of marks; the opener often stands in the prompt, so the answer may
begin inside the frame (`in_reasoning`) or show only the closer. What is drafted inside reasoning
is no act. If the frame never closes, everything is reasoning, unless its very end is a complete
call: then the model has acted and only forgot the mark (`parse` decides that, with the scanners).

A mark that is quoted is text: between quotes or backticks, in a closed code fence with a further
closer behind it, or (`quoted`) inside an argument of a whole call or inside a plan document. Frames
may nest and may follow one another; a model may also write another family's marks.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from familiar.wire.dialects import Dialect
from familiar.wire.found import TooManyTags, at_line_start, in_quotes
from familiar.wire.result import Repair

Quoted = Callable[[int], Sequence[tuple[int, int]]]
"""Where text stands, in order, in which a mark is quoted, given the offset of the first mark."""

_MARKS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
_WRITTEN = re.compile(r"<(think(?:ing)?|thought|reasoning)(\s{0,4})>", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]{0,3}(?:```|~~~)", re.MULTILINE)
_MAX_MARKS = 8_192
_MAX_FRAMES = 1_024


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

    def text(self, answer: str, stop: int) -> str | None:
        """All reasoning; one that never ended goes up to `stop`."""
        pieces = list(self.reasoning)
        if self.unclosed is not None:
            pieces.append(answer[self.unclosed : stop])
        return "".join(pieces).strip() or None


def split_reasoning(text: str, dialect: Dialect, quoted: Quoted, *, in_reasoning: bool) -> Split:
    """Find the frames of reasoning in `text`."""
    split = Split()
    if not dialect.think_close:
        return split
    dialect = _with_marks_of(text, dialect)
    begun = len(text) - len(text.lstrip())
    opened = text.startswith(dialect.think_open, begun)
    marks = _Marks(text, dialect, quoted)
    if in_reasoning or opened:
        start = begun + len(dialect.think_open) if opened else 0
        close = marks.end_of_frame(start)
        if close < 0:
            split.unclosed = split.start = start
            return split
        split.reasoning.append(marks.inner(start, close))
        _answer_from(text, split, close, dialect.think_close)
    else:
        first = next(marks.outside(0), None)
        if first is not None and first.group() == dialect.think_close:
            close = first.start()
            if not text[:close].strip():
                _answer_from(text, split, close, dialect.think_close)
            elif dialect.implicit_think:
                split.repairs.append(Repair("missing_reasoning_open", 0))
                split.reasoning.append(text[:close])
                _answer_from(text, split, close, dialect.think_close)
    marks.later_frames(split)
    return split


def _with_marks_of(text: str, dialect: Dialect) -> Dialect:
    """`dialect` with another family's marks where the answer begins with one of them."""
    head = text[:4096].lstrip()[:32]
    if head.startswith(dialect.think_open):
        return dialect
    marks = _MARKS
    if (written := _WRITTEN.match(head)) is not None:
        name, space = written.groups()
        marks = (*_MARKS, (written.group(), f"</{name}{space}>"))
    for opener, closer in marks:
        if head.startswith(opener):
            return replace(dialect, think_open=opener, think_close=closer)
    return dialect


class _Marks:
    """Openers and closers of one pair in one text, without the quoted ones."""

    def __init__(self, text: str, dialect: Dialect, quoted: Quoted) -> None:
        self.text = text
        self.opener = dialect.think_open
        self.closer = dialect.think_close
        self.quoted = quoted
        self.quotations: Sequence[tuple[int, int]] | None = None
        self.nested = dialect.nested_think
        self.label = dialect.think_label
        self.either = re.compile(f"{re.escape(self.opener)}|{re.escape(self.closer)}")
        self.seen = 0
        fenced = "```" in text or "~~~" in text
        self.fences = [match.start() for match in _FENCE.finditer(text)] if fenced else []

    def outside(self, position: int) -> Iterator[re.Match[str]]:
        """Marks from `position` that stand in no quotation and no document."""
        while (match := self.either.search(self.text, position)) is not None:
            self._count()
            position = match.end()
            if in_quotes(self.text, match.start(), match.end()):
                continue
            if self.quotations is None:
                self.quotations = self.quoted(match.start())
            at = bisect_right(self.quotations, (match.start(), len(self.text))) - 1
            if at >= 0 and match.start() < self.quotations[at][1]:
                position = max(self.quotations[at][1], position)
                continue
            yield match

    def end_of_frame(self, start: int) -> int:
        """Where the frame that opened before `start` closes, or a negative number."""
        depth, last, fenced = 1, -1, -1
        for match in self.either.finditer(self.text, start):
            self._count()
            if in_quotes(self.text, match.start(), match.end()):
                continue
            if self._in_fence(start, match.start()):
                fenced = match.start() if match.group() == self.closer and fenced < 0 else fenced
                continue
            if match.group() == self.opener:
                depth += self.nested
                continue
            depth -= 1
            last = match.start()
            if not depth:
                return last
        return last if last >= 0 else fenced

    def later_frames(self, split: Split) -> None:
        """Whole frames inside the answer, and one at the begin of a line that never closes."""
        position = split.start
        while (match := next(self.outside(position), None)) is not None:
            position = match.end()
            if match.group() != self.opener:
                continue
            close = self.end_of_frame(match.end())
            if close < 0 and not at_line_start(self.text, match.start()):
                return
            end = len(self.text) if close < 0 else close + len(self.closer)
            if len(split.removed) > _MAX_FRAMES:
                raise TooManyTags
            split.reasoning.append(self.inner(match.end(), close if close >= 0 else end))
            split.removed.append((match.start(), end))
            split.closed = True
            position = end

    def inner(self, start: int, end: int) -> str:
        """The text of a frame, without openers that are doubled and without its label."""
        while self.text.startswith(self.opener, start, end):
            start += len(self.opener)
        return self.text[start:end].removeprefix(self.label)

    def _count(self) -> None:
        self.seen += 1
        if self.seen > _MAX_MARKS:
            raise TooManyTags

    def _in_fence(self, start: int, position: int) -> bool:
        """Whether a code fence that opened behind `start` closes behind `position`."""
        if not self.fences:
            return False
        before = bisect_right(self.fences, position) - bisect_right(self.fences, start)
        return before % 2 == 1 and bisect_right(self.fences, position) < len(self.fences)


def _answer_from(text: str, split: Split, close: int, closer: str) -> None:
    """The answer begins behind the mark, its repetitions, and the white space that follows."""
    split.closed = True
    position = close + len(closer)
    split.removed.append((0, position))
    repeated = re.compile(rf"\s*+(?:{re.escape(closer)}\s*+)*+").match(text, position)
    split.start = repeated.end() if repeated else position
    if text[position : split.start].strip():
        split.repairs.append(Repair("stray_reasoning_close", position))
