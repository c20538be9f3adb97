"""Code fences as CommonMark has them, and the words that models put around them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n\r]*)$")
_SAID = re.compile(
    r"(?:sure|certainly|of course|absolutely|ok|okay|got it|great|here(?:'s|’s| is| are)|below is|"
    r"this is|the following|i have|i've|i’ve|i hope|let me know|feel free|hope this|"
    r"please let|if you (?:need|want|would)|would you like|note that|you can )",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"[;{}=]$|^[\w.\[\]]+ ?[:+*/|-]?= |^[\w.]+\(.*\)$|^[<@$]|"
    r"^(?:import|from|def|class|const|let|var|return|if) .*[:;({=]"
)
_WORDS = re.compile(r"^[^\W_][^\n]* [^\n]*|^[*>-] |^\d+[.)] ")


@dataclass(frozen=True, slots=True)
class Fence:
    """A line that opens or closes a block. `label` is the first word behind the marks."""

    line: int
    mark: str
    label: str

    def closes(self, opening: Fence) -> bool:
        same = self.mark[0] == opening.mark[0] and len(self.mark) >= len(opening.mark)
        return same and not self.label


def fences(lines: list[str]) -> list[Fence]:
    """Every line that can be a fence, in order."""
    found: list[Fence] = []
    for number, line in enumerate(lines):
        match = _FENCE.match(line.rstrip("\r\n"))
        if match is not None:
            words = match.group(2).split()
            found.append(Fence(number, match.group(1), words[0].lower() if words else ""))
    return found


def fence_spans(text: str) -> list[tuple[int, int]]:
    """Where blocks of code stand in `text`, by CommonMark; one that is not closed has no end."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    spans: list[tuple[int, int]] = []
    opening: Fence | None = None
    for fence in fences(lines):
        if opening is None:
            opening = fence
        elif fence.closes(opening):
            spans.append((starts[opening.line], starts[fence.line + 1]))
            opening = None
    if opening is not None:
        spans.append((starts[opening.line], len(text)))
    return spans


def is_chatter(text: str) -> bool:
    """Sentences about a document, and no part of one: no heading, no markup, no code."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith(("#", "<", "|", "---")) for line in lines):
        return False
    return all(_WORDS.match(line) or len(lines) <= 3 for line in lines) and not any(
        _CODE.search(line) for line in lines
    )


def is_said(text: str) -> bool:
    """Chatter that begins as an assistant begins or ends to talk: "Here is ...", "I hope ..."."""
    return is_chatter(text) and _SAID.match(text.strip()) is not None
