"""The text that remains of an answer, once reasoning and calls are taken out.

Text is never rewritten. Between blocks it is joined as it stands; a stretch of pure white space
beside a call is markup, not text; the break that a dialect puts before its calls belongs to the
call.
"""

from __future__ import annotations

import re

from familiar.wire.dialects import (
    BYTE_ORDER_MARK,
    RESERVED_TAG_NAMES,
    TURN_BEGIN,
    TURN_ENDS,
    Dialect,
)
from familiar.wire.found import Block, outside

_TURN_BEGIN = re.compile(TURN_BEGIN)
_TRAILING_CLOSE = re.compile(r"</([A-Za-z_:]{1,64})>\s*\Z")


def without_frame(text: str) -> str:
    """`text` without turn-ending tokens at its end, and with spaces for a byte order mark or the
    tokens that begin a turn; offsets in it stay offsets in the raw text."""
    if text.startswith(BYTE_ORDER_MARK):
        text = " " + text[1:]
    if (begun := _TURN_BEGIN.match(text)) is not None:
        text = " " * begun.end() + text[begun.end() :]
    for _ in range(4):
        kept = text.rstrip()
        ending = next((token for token in TURN_ENDS if kept.endswith(token)), None)
        if ending is None:
            break
        text = kept[: -len(ending)]
    return text


def remaining_text(
    text: str, dialect: Dialect, start: int, removed: list[tuple[int, int]], blocks: list[Block]
) -> str:
    """`text` from `start`, without `removed` spans and without blocks that are not kept as text."""
    taken = {(block.start, block.end) for block in blocks if not block.keep_text}
    cuts = sorted({*taken, *((low, high) for low, high in removed if high > start)})
    if not cuts:
        return _without_markers(text[start:], dialect)
    calls = {low for low, _ in taken}
    pieces = [
        _trimmed(text[low:high], dialect) if high in calls else text[low:high]
        for low, high in outside(cuts, start, len(text))
        if text[low:high].strip()
    ]
    return _without_markers("".join(pieces), dialect)


def _trimmed(piece: str, dialect: Dialect) -> str:
    for ending in dialect.trim_before_call:
        if piece.endswith(ending):
            return piece[: -len(ending)]
    return piece


def _without_markers(piece: str, dialect: Dialect) -> str:
    for marker in dialect.dropped:
        piece = piece.replace(marker, "")
    return piece


def strip_orphan_closers(content: str) -> tuple[str, int]:
    """Closers of call tags that end a text in which nothing was opened, and how many there were."""
    count = 0
    while count < 16 and (match := _closer_at_end(content)) is not None:
        name = match.group(1)
        if name not in RESERVED_TAG_NAMES or f"<{name}" in content:
            break
        content = content[: match.start()]
        count += 1
    return (content.rstrip(), count) if count else (content, 0)


def _closer_at_end(content: str) -> re.Match[str] | None:
    """Looks at the last tag only, so that the text is not searched again and again."""
    opening = content.rfind("</", max(0, len(content) - 96))
    return _TRAILING_CLOSE.match(content, opening) if opening >= 0 else None
