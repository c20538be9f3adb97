"""What a page's slot must hold, read from what is said about the page by plain words.

Only words that stand with the page itself count: its call's prompt, and the paragraph or list item
of the goal that names its file. No model is asked; the same words always give the same answer.
"""

from __future__ import annotations

import re

_PRICES = re.compile(r"\b(?:pric(?:e|es|ing)|fees?|tariffs?|rates)\b", re.IGNORECASE)
_TABLE = re.compile(r"\btables?\b", re.IGNORECASE)
_MODAL = re.compile(r"\b(?:modals?|dialogs?|pop-?ups?)\b", re.IGNORECASE)
_LIST = re.compile(r"\b(?:lists?|steps?|checklists?|bullets?)\b", re.IGNORECASE)


def requirements_for(*texts: str) -> tuple[str, ...]:
    """The parts besides a heading and sections, read from what the goal and the call's own prompt
    say about the page."""
    text = "\n".join(texts)
    asked = {
        "pricing-table": _PRICES.search(text) and _TABLE.search(text),
        "modal": _MODAL.search(text),
        "listing": _LIST.search(text),
    }
    return tuple(name for name, said in asked.items() if said)
