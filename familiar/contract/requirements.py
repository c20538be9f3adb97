"""What a page's slot must hold, read from what is said about the page by plain words.

Only words that stand with the page itself count: its call's prompt, and the paragraph or list item
of the goal that names its file. No model is asked; the same words always give the same answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PRICES = re.compile(r"\b(?:pric(?:e|es|ing)|fees?|tariffs?|rates)\b", re.IGNORECASE)
_TABLE = re.compile(r"\btables?\b", re.IGNORECASE)
_MODAL = re.compile(r"\b(?:modals?|dialogs?|pop-?ups?)\b", re.IGNORECASE)
_LIST = re.compile(r"\b(?:lists?|steps?|checklists?|bullets?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SlotRequirements:
    """What must be there besides a heading and sections."""

    pricing_table: bool = False
    modal: bool = False
    listing: bool = False


def requirements_for(*texts: str) -> SlotRequirements:
    """Read `texts`: what the goal says about the file, and the call's own prompt."""
    text = "\n".join(texts)
    return SlotRequirements(
        pricing_table=bool(_PRICES.search(text)) and bool(_TABLE.search(text)),
        modal=bool(_MODAL.search(text)),
        listing=bool(_LIST.search(text)),
    )
