"""An attempt is carried out once, and an old orchestrator is rejected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.engines.scripted import ScriptedEngine
from actors.replica.table import Attempts
from familiar.call import CallKey, CallOrder, CallOutcome, Deadlines
from familiar.engine import Delta, GenerateRequest, Message
from familiar.errors import FailureClass, StaleEpoch
from tests.actors.until import until

LIMITS = Deadlines(30, 30, 60)


def order(call: str = "c", *, epoch: int = 1, attempt: int = 1) -> CallOrder:
    key = CallKey("run", call, attempt)
    request = GenerateRequest(str(key), (Message("user", "Write."),))
    return CallOrder(
        key=key,
        epoch=epoch,
        alias="grandpa",
        request=request,
        deadlines=LIMITS,
    )


class Bench:
    """A table over a scripted engine; `started` are the attempts that reached the engine."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.table = Attempts()
        self.started: list[str] = []

    def _stream(self, wanted: CallOrder) -> AsyncIterator[Delta]:
        self.started.append(str(wanted.key))
        return self.engine.generate(wanted.request)

    async def carry_out(self, wanted: CallOrder) -> CallOutcome:
        return await asyncio.shield(self.table.begin(wanted, self._stream))


async def bench(script: object = None) -> Bench:
    engine = ScriptedEngine(script)
    await engine.start()
    return Bench(engine)


SLOW = {"rates": {"tokens_per_s": 100}, "answer": {"tokens": 30}}


# -- attempts ------------------------------------------------------------------------------------


async def test_asking_again_attaches_to_the_attempt_and_later_gives_the_same_outcome() -> None:
    made = await bench(SLOW)
    first = asyncio.create_task(made.carry_out(order()))
    await until(lambda: made.started)
    second, later = await asyncio.gather(first, made.carry_out(order()))
    assert second is later is await made.carry_out(order())
    assert made.started == ["run/c/1"]
    await made.carry_out(order(attempt=2))
    assert made.started == ["run/c/1", "run/c/2"]


async def test_an_attempt_goes_on_when_the_asker_goes_away_and_is_adopted_by_key() -> None:
    made = await bench(SLOW)
    gone = asyncio.create_task(made.carry_out(order()))
    await until(lambda: made.started)
    gone.cancel()
    await asyncio.wait([gone])
    assert made.table.held(2) == [order().key]
    outcome = await made.carry_out(order(epoch=2))
    assert (outcome.failure, outcome.usage.output_tokens) == (None, 30)
    assert made.started == ["run/c/1"]
    assert made.table.held(2) == [order().key]


async def test_released_attempts_leave_the_table_and_running_ones_stay() -> None:
    made = await bench(SLOW)
    await made.carry_out(order("a"))
    going = asyncio.create_task(made.carry_out(order("b")))
    await until(lambda: len(made.started) == 2)
    made.table.release([order("a").key, order("b").key, order("unknown").key])
    assert made.table.held(1) == [order("b").key]
    await going


async def test_ended_attempts_that_nobody_releases_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.replica.table._ENDED_CHARS", 100)
    made = await bench({"answer": "x" * 20})  # 40 characters in raw and text
    for number in range(10):
        await made.carry_out(order(f"c{number}"))
    assert [key.call_id for key in made.table.held(1)] == ["c8", "c9"]


async def test_cancelling_ends_an_attempt_for_everybody_who_waits() -> None:
    made = await bench({"rules": [{"faults": [{"kind": "stall", "after_tokens": 3}]}]})
    waiting = [asyncio.create_task(made.carry_out(order())) for _ in range(2)]
    await until(lambda: made.engine.stats().output_tokens == 3)
    progress = made.table.progress({order().key: 2})[order().key]
    assert (progress.tokens, progress.offset) == (3, 2)
    assert progress.text
    assert await made.table.cancel(order().key)
    outcomes = await asyncio.gather(*waiting)
    for outcome in outcomes:
        assert outcome.failure is not None
        assert outcome.failure.failure_class == FailureClass.CANCELLED
    assert made.engine.stats().running == 0
    assert made.table.progress() == {}
    assert not await made.table.cancel(order().key)
    assert not await made.table.cancel(order("unknown").key)


async def test_the_usual_rate_is_learnt_and_makes_a_slow_backend_visible() -> None:
    made = await bench(
        {
            "rates": {"tokens_per_s": 1000},
            "answer": {"tokens": 40},
            "rules": [
                {
                    "when": {"call": "slow"},
                    "answer": {"tokens": 5000},
                    "faults": [{"kind": "slow", "tokens_per_s": 20}],
                }
            ],
        }
    )
    for number in range(3):
        assert (await made.carry_out(order(f"c{number}"))).failure is None
    slow = replace(order("slow"), deadlines=Deadlines(30, 30, 0.5))
    failure = (await made.carry_out(slow)).failure
    assert failure is not None
    assert failure.failure_class == FailureClass.BACKEND_SLOW


# -- epochs --------------------------------------------------------------------------------------


async def test_a_lower_epoch_is_rejected_in_everything() -> None:
    made = await bench()
    await made.carry_out(order(epoch=5))
    with pytest.raises(StaleEpoch, match="epoch 5"):
        await made.carry_out(order("other", epoch=4))
    with pytest.raises(StaleEpoch):
        await made.carry_out(order(epoch=4))
    with pytest.raises(StaleEpoch):
        made.table.held(4)
    assert made.started == ["run/c/1"]
    made.table.held(6)
    with pytest.raises(StaleEpoch, match="epoch 6"):
        await made.carry_out(order(epoch=5))
    await made.carry_out(order(epoch=6))
