"""Text and values that can be written as UTF-8, whatever the model's escapes say.

A JSON string may hold half of a surrogate pair (`"\\ud83c"`): no database, file or reply can take
it. Two halves that belong together are joined, a lone half becomes U+FFFD, and the caller records
that as a repair. Nothing else of a value is ever changed.
"""

from __future__ import annotations

from familiar.wire.result import Json


def encodable(text: str) -> str:
    """`text` itself where it is Unicode text; else without lone surrogates."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def encodable_value(value: Json) -> Json:
    """`value` with every string and key encodable. Raises RecursionError for absurd depth."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [encodable_value(item) for item in value]
    if isinstance(value, dict):
        return {encodable(key): encodable_value(item) for key, item in value.items()}
    return value
