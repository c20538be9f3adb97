"""Text of models, plans and people, made safe for a terminal or a line of a log.

Models and repositories choose this text, so it may hold escape sequences that retitle or clear a
terminal, bidirectional overrides that show a name backwards, and carriage returns that write over
what stands there. Each such character becomes a visible substitute; nothing else changes.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of writing
    "\u2028\u2029\ufeff\ufff9-\ufffb"  # line separators, marks of interlinear text
    "\U000e0000-\U000e007f"  # tags: invisible ASCII
    "\ud800-\udfff]"  # halves of a surrogate pair, which no encoding can write
)


def safe_text(text: str) -> str:
    """`text` with every character that could steer a terminal replaced by U+FFFD; CR LF, and CR
    alone, become a line feed. Linear in the length."""
    return _UNSAFE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def safe_line(text: str) -> str:
    """The same on one line: line ends and tabs become spaces."""
    return safe_text(text).replace("\n", " ").replace("\t", " ")


def escape_unsafe(document: str) -> str:
    """A JSON document with the same characters written as JSON escapes. Those that JSON escapes
    anyway, and its own line feeds, stay."""
    return _UNSAFE.sub(lambda found: _escape(ord(found.group())), document)


def _escape(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
