"""Gathering deltas into fewer, larger ones before they cross Ray.

One item of a Ray stream costs a good part of a millisecond, one token in an engine far less. So
deltas are joined for a short window; the first one passes at once, because it ends the wait that a
person notices, and so does whatever comes after a silence longer than the window.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from actors.engines.pump import Pump
from familiar.engine import Delta

SHORTEST_S = 0.02
LONGEST_S = 0.2
_ITEMS_PER_S = 500.0


def window_for(streams: int) -> float:
    """Seconds to gather so that all streams of a replica together stay below 500 items/s."""
    return min(max(streams / _ITEMS_PER_S, SHORTEST_S), LONGEST_S)


async def coalesced(
    deltas: AsyncIterator[Delta], window_s: Callable[[], float]
) -> AsyncIterator[Delta]:
    """The same text and counts in fewer deltas. Closing it closes `deltas`."""
    pump = Pump(deltas)
    passed_at = 0.0
    try:
        while batch := await pump.batch():
            if batch[-1].finish_reason is None:
                left = passed_at + window_s() - time.monotonic()
                if left > 0:
                    await asyncio.sleep(left)
                    # An error now is raised by the next turn, after this text was passed on.
                    batch += pump.more()
            passed_at = time.monotonic()
            yield join(batch)
    finally:
        await pump.close()


def join(deltas: list[Delta]) -> Delta:
    """One delta that says what these say."""
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        text="".join(delta.text for delta in deltas),
        tokens=sum(delta.tokens for delta in deltas),
        finish_reason=deltas[-1].finish_reason,
        prompt_tokens=max(delta.prompt_tokens for delta in deltas),
        cached_tokens=max(delta.cached_tokens for delta in deltas),
    )
