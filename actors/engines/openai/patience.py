"""How long one call waits for a server that is not up, loads, is busy or limits the rate."""

from __future__ import annotations

import random
import time

from familiar.errors import EngineError

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0


class Patience:
    """Pauses between the attempts of one request: as long as the server asks for, else growing,
    and scattered, so that many calls do not come back at one moment."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._pauses = 0

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._began

    def pause_s(self, error: EngineError) -> float | None:
        """Seconds until the next attempt; None when waiting cures nothing or takes too long."""
        if not error.evidence.get("transient"):
            return None
        asked = error.evidence.get("retry_after_s")
        grown = min(FIRST_PAUSE_S * 1.6**self._pauses, LONGEST_PAUSE_S)
        pause = max(float(asked), 0.05) if isinstance(asked, int | float) else grown
        pause *= random.uniform(1.0, 1.2)
        self._pauses = min(self._pauses + 1, 20)
        return pause if self.waited_s + pause <= self._seconds else None
