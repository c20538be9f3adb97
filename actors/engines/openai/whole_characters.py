"""Characters that a server cut in two, put together again.

Tokens are bytes, so a character may begin in one delta and end in the next: as two halves of a
UTF-16 surrogate pair, or as raw bytes of UTF-8. A half that stays alone becomes U+FFFD, so no text
with a lone surrogate leaves an engine.
"""

from __future__ import annotations

import codecs
import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class WholeCharacters:
    """One stream of text. Bytes come as `surrogateescape` writes them."""

    def __init__(self) -> None:
        self._high = ""
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = False

    def add(self, text: str) -> str:
        """The whole characters that there are now."""
        if not self._high and not self._open and not _SURROGATE.search(text):
            return text
        text = self._high + text
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        self._high = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = _NO_BYTE.sub("\ufffd", text[: len(text) - len(self._high)])
        whole = self._bytes.decode(text.encode("utf-8", "surrogateescape"))
        self._open = bool(self._bytes.getstate()[0])
        return whole

    def end(self) -> str:
        """What is left of a character that never became whole."""
        left = self._bytes.decode(b"", final=True) + ("\ufffd" if self._high else "")
        self._high, self._open = "", False
        return left
