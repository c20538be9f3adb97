"""Attributes of a tag, read tolerantly: straight, single or typographic quotes, or none.

Typographic quotes are normalised here and nowhere else: in tags, never in values.
"""

from __future__ import annotations

import re

# Each alternative starts with a different character, so a failed match never backs up.
_ATTRIBUTE = re.compile(
    r"([A-Za-z_:][\w:.-]{0,63})\s{0,4}=\s{0,4}"
    r"(?:\"([^\"]{0,1024})\"|'([^']{0,1024})'|[“”]([^“”]{0,1024})[“”]|[‘’]([^‘’]{0,1024})[‘’]"
    r"|([^\s\"'“”‘’<>/]{1,256}))"
)


def read_attributes(text: str) -> dict[str, str]:
    """`name="value"` pairs of `text`; the first of a repeated name counts."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(text):
        value = next((group for group in match.groups()[1:] if group is not None), "")
        found.setdefault(match.group(1), value)
    return found
