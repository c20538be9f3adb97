"""Texts by hash, with the recent ones at hand.

Almost every text that a run needs was written by it a moment ago (an answer that is parsed, a page
that is published), so a bounded cache in front of the store saves the reads; the rest are read in a
thread.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping

from familiar.errors import StoreError

KEPT_CHARS = 64 * 1024 * 1024


class Texts:
    def __init__(self, load: Callable[[str], str | None]) -> None:
        self._load = load
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._size = 0

    def keep(self, texts: Mapping[str, str]) -> None:
        for sha256, text in texts.items():
            if sha256 not in self._kept:
                self._kept[sha256] = text
                self._size += len(text)
        while self._size > KEPT_CHARS and self._kept:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)

    async def get(self, sha256: str) -> str:
        text = self._kept.get(sha256)
        if text is None:
            text = await asyncio.to_thread(self._load, sha256)
            if text is None:
                raise StoreError(
                    f"The text {sha256[:12]} is referred to and not in the database.",
                    remedy="Restore the database from a copy.",
                )
            self.keep({sha256: text})
        return text
