"""The parts that a page's slot may be asked to hold, and the words that ask for them.

Only words that stand with the page itself count: its call's prompt, and the paragraph or list item
of the goal that names its file. No model is asked; the same words always give the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from turbohtml import TokenType, tokenize


@dataclass(frozen=True, slots=True)
class Part:
    """`rule` is its start rule in `grammars/html-page`, `elements` one of which must be there,
    `words` all of which must be said to ask for it."""

    rule: str
    elements: frozenset[str]
    sentence: str
    words: tuple[re.Pattern[str], ...]


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)


PARTS = {
    "pricing-table": Part(
        "pricing",
        frozenset({"table"}),
        "a table with prices",
        (_words("pric(?:e|es|ing)|fees?|tariffs?|rates"), _words("tables?")),
    ),
    "modal": Part(
        "modal",
        frozenset({"dialog"}),
        "a modal (a <dialog>)",
        (_words("modals?|dialogs?|pop-?ups?"),),
    ),
    "listing": Part(
        "listing",
        frozenset({"ul", "ol"}),
        "a list",
        (_words("lists?|steps?|checklists?|bullets?"),),
    ),
}


def requirements_for(*texts: str) -> tuple[str, ...]:
    """The names of the parts that the goal and the call's own prompt ask for."""
    text = "\n".join(texts)
    return tuple(
        name for name, part in PARTS.items() if all(word.search(text) for word in part.words)
    )


def missing_parts(slot: str, requires: Sequence[str]) -> list[str]:
    names = {token.tag for token in tokenize(slot) if token.type is TokenType.START_TAG}
    return [
        f"The page needs {PARTS[part].sentence}."
        for part in requires
        if not names.intersection(PARTS[part].elements)
    ]
