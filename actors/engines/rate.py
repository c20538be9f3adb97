"""Tokens per second over the last few seconds, in constant memory.

Tokens are counted in buckets of half a second; buckets older than the window are dropped whenever
one is added or the rate is read. The caller gives the time (seconds of one monotonic clock), so
nothing here reads or starts a clock.
"""

from __future__ import annotations

from collections import deque

BUCKET_S = 0.5


class TokenRate:
    """A sliding window of `window_s` seconds."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._buckets: deque[tuple[float, int]] = deque()
        self._newest_at = float("-inf")
        self._newest = 0

    def add(self, tokens: int, now: float) -> None:
        if now - self._newest_at < BUCKET_S:
            self._newest += tokens
        else:
            if self._newest:
                self._buckets.append((self._newest_at, self._newest))
            self._newest_at, self._newest = now, tokens
            self._drop(now)

    def per_second(self, now: float) -> float:
        """Tokens a second since the oldest bucket of the window began."""
        self._drop(now)
        if now - self._newest_at > self._window_s:
            return 0.0
        oldest = self._buckets[0][0] if self._buckets else self._newest_at
        tokens = self._newest + sum(count for _, count in self._buckets)
        return tokens / max(now - oldest, BUCKET_S)

    def _drop(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] > self._window_s:
            self._buckets.popleft()
