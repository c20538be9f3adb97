"""The rate that one call usually gets from a pool, measured on the calls that ended there.

A sample is an attempt's output tokens over the seconds from its first token to its end, so queue
time and prompt processing do not count. The usual rate is the median of the newest samples: an
outlier moves it little, and a slower pool shows within a few calls. Attempts whose silence or
abort would be measured instead of the engine are left out.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping

from familiar import event as ev
from familiar.failure import FAILURES
from familiar.run.state import CallState

SAMPLES = 64
MIN_TOKENS = 8
"""Below this the tokens of the first delta, whose time is not known, weigh too much."""
MIN_SECONDS = 1e-3


class CallRates:
    """Tokens/s by pool, from committed events. `pools` maps each alias to its pool."""

    def __init__(self, pools: Mapping[str, str]) -> None:
        self._pools = dict(pools)
        self._samples: dict[str, deque[float]] = {}

    def see(self, event: ev.Event, calls: Mapping[str, CallState]) -> None:
        """Take in a committed event; `calls` are those of its run."""
        body = event.body
        if not isinstance(body, ev.CallSucceeded | ev.CallFailed) or body.timing is None:
            return
        if isinstance(body, ev.CallFailed) and not FAILURES[body.failure.failure_class].flowed:
            return
        call, first = calls.get(body.call), body.timing.first_token_at
        pool = None if call is None else self._pools.get(call.planned.alias)
        if pool is None or first is None or body.usage.output_tokens < MIN_TOKENS:
            return
        seconds = max(body.timing.ended_at - first, MIN_SECONDS)
        samples = self._samples.setdefault(pool, deque(maxlen=SAMPLES))
        samples.append(body.usage.output_tokens / seconds)

    def by_alias(self) -> dict[str, float]:
        """The usual rate of a call of each alias whose pool was measured."""
        usual = {pool: statistics.median(rates) for pool, rates in self._samples.items()}
        return {alias: usual[pool] for alias, pool in self._pools.items() if pool in usual}
