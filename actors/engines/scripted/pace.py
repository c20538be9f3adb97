"""The pace of a scripted answer: when each delta is due, and where a fault strikes.

It only says when; waiting, striking and sending are the engine's. Nothing is drawn or added up
where the script asks for neither rate nor jitter, so a stream at full speed costs little.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable

from actors.engines.scripted.script import Fault, Rates

MID_STREAM = frozenset({"stall", "slow", "cut", "die"})


class Pace:
    """When the tokens of one answer are due, and where its faults strike."""

    def __init__(self, rates: Rates, faults: Iterable[Fault], *, total: int, seed: str) -> None:
        """`total` is the answer's length in tokens."""
        self.total = total
        self.faults = deque(
            sorted((f for f in faults if f.kind in MID_STREAM), key=lambda f: f.after_tokens)
        )
        self.stop = self.stops()
        self.interval = 1.0 / rates.tokens_per_s if rates.tokens_per_s else 0.0
        self.due = time.monotonic() + rates.ttft_s
        self._draw = random.Random(seed) if rates.jitter else None
        self._jitter = rates.jitter
        self._per_delta = rates.tokens_per_delta

    def stops(self) -> int:
        """Where the next fault strikes. One behind the end of the answer strikes at its end."""
        return min(self.faults[0].after_tokens, self.total) if self.faults else self.total

    def next(self, sent: int) -> int:
        """The end of the next delta; `due` is when it is due."""
        upto = sent + self._per_delta
        if upto > self.stop:
            upto = self.stop
        if self.interval:
            # The first token is due at `due` itself; the last token of a delta carries the delta.
            step = max(upto - sent - (sent == 0), 0) * self.interval
            if self._draw is not None:
                step *= 1.0 + self._jitter * self._draw.uniform(-1.0, 1.0)
            self.due += step
        return upto
