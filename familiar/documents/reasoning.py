"""Reasoning never lands in a file or an answer: it is cut off, or the answer is rejected.

Reasoning stands in front of an answer, between a pair of marks or with its closing mark alone. A
mark in quotes or backticks is text, and so is one inside a code fence.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from familiar.documents.fences import fence_spans
from familiar.errors import WireError

_WORDS = (
    r"(?:ai_)?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|(?:seed|mm):think)"
)
_OPEN = re.compile(
    rf"""(?<![`"'\w])(?:<\|?{_WORDS}\|?>|\[THINK\]|◁think▷|<\|channel\|>analysis|<\|channel>thought|"""
    r"""<\|START_THINKING\|>|<\|begin_of_thought\|>)(?![`"'])""",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"""(?<![`"'\w])(?:</{_WORDS}>|<\|/{_WORDS}\|>|\[/THINK\]|◁/think▷|<\|channel\|>final(?:<\|message\|>)?|<channel\|>|"""
    rf"""<\|END_THINKING\|>|<\|end_of_thought\|>)(?![`"'])|"""
    rf"""(?<=\w)(?:</{_WORDS}>|<\|/{_WORDS}\|>|\[/THINK\]|◁/think▷|<channel\|>|<\|END_THINKING\|>|<\|end_of_thought\|>)"""
    r"""(?![`"'])""",
    re.IGNORECASE,
)
# Elements that are reasoning only where something follows them: a document may be one of them.
_LEADING = re.compile(
    r"\s{0,64}<(analysis|(?:inner|internal)_monologue|details(?= type=\"reasoning\"))"
    r"[^<>\n]{0,200}>"
)
_EMPTY = re.compile(r"\s{0,64}<(?:think|thinking) ?/>")
_WITHOUT_TOKENS = re.compile(r"\s{0,8}(?:analysis(?=[A-Z\s])|assistant ?final)")
_FINAL = re.compile(r"assistant ?final(?:<\|message\|>)?")
"""Harmony's channels, of which an engine dropped the marks."""
_DONE = "...done thinking."
_NOTE = "removed the reasoning in front of the answer"


def without_reasoning(text: str) -> tuple[str, tuple[str, ...]]:
    """The answer without the reasoning in front of it, and what was removed. Linear.

    Raises `WireError` when the reasoning never ends or stands within the answer.
    """
    answer = _answer(text)
    return (text, ()) if answer is None else (answer.lstrip("\r\n"), (_NOTE,))


def reasoning_in(text: str) -> str:
    """The reasoning in front of an answer, without its marks; empty where there is none. Reasoning
    that never ends is all of the text. Linear."""
    try:
        answer = _answer(text)
    except WireError:
        opened = _OPEN.match(text.lstrip())
        return _without_marks(text) if opened else ""
    return "" if answer is None else _without_marks(text[: len(text) - len(answer)])


def _without_marks(text: str) -> str:
    return _CLOSE.sub("", _OPEN.sub("", text)).strip()


def _answer(text: str) -> str | None:
    """The text behind the reasoning; None where no reasoning was found."""
    rest, removed = text, False
    if _WITHOUT_TOKENS.match(rest) and (final := _FINAL.search(rest)) is not None:
        rest, removed = rest[final.end() :], True
    if rest.lstrip().startswith("Thinking...") and (end := rest.find(_DONE)) >= 0:
        rest, removed = rest[end + len(_DONE) :], True
    if (leading := _LEADING.match(text)) is not None:
        closer = f"</{leading.group(1)}>"
        end = text.find(closer)
        if end >= 0 and text[end + len(closer) :].strip():
            rest, removed = text[end + len(closer) :], True
    while (opened := _OPEN.match(rest.lstrip())) is not None:
        begun = len(rest) - len(rest.lstrip()) + opened.end()
        closed = _CLOSE.search(rest, begun)
        if closed is None:
            raise WireError("The answer is reasoning that never ends.")
        rest, removed = rest[closed.end() :], True
    if (empty := _EMPTY.match(rest)) is not None:
        rest, removed = rest[empty.end() :], True
    fences = fence_spans(rest)
    last: re.Match[str] | None = None
    for closed in _CLOSE.finditer(rest):
        if not _within(closed.start(), fences):
            last = closed
    if last is not None:
        opened = _OPEN.search(rest, 0, last.start())
        if opened is not None and not _within(opened.start(), fences):
            raise WireError("There is reasoning inside the answer.")
        rest, removed = rest[last.end() :], True
        fences = fence_spans(rest)
    for opened in _OPEN.finditer(rest):
        if not _within(opened.start(), fences):
            raise WireError("There is reasoning inside the answer.")
    return rest if removed else None


def _within(at: int, spans: list[tuple[int, int]]) -> bool:
    index = bisect_right(spans, at, key=lambda span: span[0]) - 1
    return index >= 0 and at < spans[index][1]
