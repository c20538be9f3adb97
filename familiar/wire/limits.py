"""Caps on what one answer may cost. Above them the answer is named, not parsed."""

MAX_BYTES = 8 * 1024 * 1024
"""UTF-8 bytes of the raw answer."""
MAX_TAGS = 8_192
"""Structural tags or markers."""
MAX_BROKEN = 64
"""Calls that cannot be read."""
MAX_CALLS = 256
MAX_DEPTH = 64
MAX_DOCUMENT_BYTES = 512 * 1024
"""One plan document, or one JSON body under repair."""
MAX_PROBLEMS = 16
