"""An event loop whose clock leaps from one timer to the next, and wakes up late if it is told to.

`time.monotonic` is the loop's clock meanwhile, as it is for a real loop. No test waits, and no load
of the machine changes a figure.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class _Leap(selectors.SelectSelector):
    """Adds the time of each wait to `now` instead of waiting."""

    def __init__(self, late_s: float) -> None:
        super().__init__()
        self.now = 1000.0
        self._late_s = late_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self.now += timeout + self._late_s
        return super().select(0)


def leap(
    monkeypatch: pytest.MonkeyPatch, main: Coroutine[Any, Any, T], *, late_s: float = 0.0
) -> T:
    """Run `main` to its end; every wake-up is late by `late_s`."""
    selector = _Leap(late_s)
    loop = asyncio.SelectorEventLoop(selector)
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: selector.now)
        try:
            return loop.run_until_complete(main)
        finally:
            loop.close()
