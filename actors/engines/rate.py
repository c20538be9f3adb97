"""Tokens per second over the last few seconds, in constant memory.

Tokens are counted in buckets of half a second; buckets older than the window are dropped whenever
one is added or the rate is read. Whoever counts says what time it is (seconds of one monotonic
clock), so nothing here reads or starts a clock.
"""

from __future__ import annotations

from collections import deque

BUCKET_S = 0.5


class TokenRate:
    """A sliding window of `window_s` seconds."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._buckets: deque[tuple[float, int]] = deque()

    def add(self, tokens: int, now: float) -> None:
        """Count `tokens` that were made at `now`."""
        if self._buckets and now - self._buckets[-1][0] < BUCKET_S:
            start, count = self._buckets[-1]
            self._buckets[-1] = (start, count + tokens)
        else:
            self._buckets.append((now, tokens))
        self._drop(now)

    def per_second(self, now: float) -> float:
        """Tokens a second since the oldest bucket of the window began."""
        self._drop(now)
        if not self._buckets:
            return 0.0
        return sum(count for _, count in self._buckets) / max(now - self._buckets[0][0], BUCKET_S)

    def _drop(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] > self._window_s:
            self._buckets.popleft()
