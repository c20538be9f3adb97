"""The outbox of a replica: batches, waiters that go away, and the end of an epoch."""

from __future__ import annotations

import asyncio

import pytest

from actors.outbox import Outbox
from familiar.call import CallKey, CallOutcome, Timing, Usage
from familiar.errors import StaleEpoch


def outcome(call: str) -> CallOutcome:
    return CallOutcome(CallKey("r", call, 1), Timing(0.0, None, 1.0), Usage())


def calls(outcomes: list[CallOutcome]) -> list[str]:
    return [ended.key.call_id for ended in outcomes]


def owing(count: int) -> Outbox:
    outbox = Outbox()
    for _ in range(count):
        outbox.owe()
    return outbox


async def test_what_ended_leaves_together() -> None:
    outbox = owing(3)
    for call in "abc":
        outbox.put(outcome(call))
    assert calls(await outbox.take()) == ["a", "b", "c"]
    await outbox.settled()


async def test_one_taker_is_answered_and_the_others_wait_for_more() -> None:
    outbox = owing(3)
    first, second = (asyncio.create_task(outbox.take()) for _ in range(2))
    await asyncio.sleep(0)
    outbox.put(outcome("a"))
    outbox.put(outcome("b"))
    assert calls(await first) == ["a", "b"]
    assert not second.done()
    outbox.put(outcome("c"))
    assert calls(await second) == ["c"]


@pytest.mark.parametrize("woken", [False, True])
async def test_a_taker_that_goes_away_takes_nothing_along(woken: bool) -> None:
    outbox = owing(1)
    first, second = (asyncio.create_task(outbox.take()) for _ in range(2))
    await asyncio.sleep(0)
    if woken:
        outbox.put(outcome("a"))
    first.cancel()
    if not woken:
        await asyncio.sleep(0)
        outbox.put(outcome("a"))
    assert calls(await asyncio.wait_for(second, 5)) == ["a"]
    assert first.cancelled()


async def test_the_end_of_an_epoch_sends_every_taker_away() -> None:
    outbox = owing(2)
    takers = [asyncio.create_task(outbox.take()) for _ in range(3)]
    await asyncio.sleep(0)
    outbox.close(StaleEpoch("Epoch 2 has taken over."))
    for taker in takers:
        with pytest.raises(StaleEpoch, match="Epoch 2"):
            await taker
    await outbox.settled()
