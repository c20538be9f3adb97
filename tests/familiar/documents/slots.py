"""What the tests ask of a slot, in one question."""

from __future__ import annotations

from collections.abc import Sequence

from familiar.documents.html.parts import missing_parts
from familiar.documents.html.slot import repair_slot
from familiar.errors import WireError


def check_slot(text: str, requires: Sequence[str] = ()) -> list[str]:
    """Everything that keeps `text` from being the slot of a page as it is, as sentences."""
    try:
        slot, repairs = repair_slot(text)
    except WireError as error:
        return [str(error)]
    return [*repairs, *missing_parts(slot, requires)]
