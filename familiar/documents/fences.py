"""Code fences as CommonMark has them, and the words that models put around them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from familiar.errors import WireError

MAX_FENCES = 4096
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n\r]*)(?:\r?\n|\r?\Z)", re.MULTILINE)
_SAID = re.compile(
    r"(?:sure|certainly|of course|absolutely|ok|okay|got it|great|here(?:'s|’s| is| are)|below is|"
    r"this is|the following|i have|i've|i’ve|i hope|let me know|feel free|hope this|i will|i'll|"
    r"i’ll|i am sorry|i'm sorry|i’m sorry|i cannot|i can't|i can’t|"
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
    """A line that opens or closes a block, from `start` to `end` with its line break. `label` is
    the first word behind the marks."""

    start: int
    end: int
    mark: str
    label: str

    def closes(self, opening: Fence) -> bool:
        same = self.mark[0] == opening.mark[0] and len(self.mark) >= len(opening.mark)
        return same and not self.label


def fences(text: str) -> list[Fence]:
    """Every line that can be a fence, in order. Raises `WireError` for more than a file has."""
    found: list[Fence] = []
    for match in _FENCE.finditer(text):
        if len(found) >= MAX_FENCES:
            raise WireError(f"The answer holds more than {MAX_FENCES} code fences.")
        words = match.group(2).split()
        label = words[0].lower() if words else ""
        found.append(Fence(match.start(), match.end(), match.group(1), label))
    return found


def blocks(found: list[Fence]) -> list[tuple[Fence, Fence | None]]:
    """The blocks of code, by CommonMark; one that is not closed has no closing fence."""
    pairs: list[tuple[Fence, Fence | None]] = []
    opening: Fence | None = None
    for fence in found:
        if opening is None:
            opening = fence
        elif fence.closes(opening):
            pairs.append((opening, fence))
            opening = None
    return pairs if opening is None else [*pairs, (opening, None)]


def fence_spans(text: str) -> list[tuple[int, int]]:
    """Where blocks of code stand in `text`."""
    return [
        (opening.start, closing.end if closing else len(text))
        for opening, closing in blocks(fences(text))
    ]


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
