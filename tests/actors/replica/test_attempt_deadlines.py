"""What the deadline that struck says about the call and its backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.replica.attempt import Source, carry_out
from familiar.call import CallOutcome, Deadlines
from familiar.engine import Delta
from familiar.errors import EngineError, FailureClass
from tests.actors.one_attempt import KEY, carry, order


async def failed(script: object, limits: Deadlines, source: Source | None = None) -> CallOutcome:
    outcome = await carry(script, order(deadlines=limits), source)
    assert outcome.failure is not None
    assert outcome.failure.message.startswith(str(KEY))
    return outcome


async def test_no_first_token_is_stalled_unless_the_engine_serves_others() -> None:
    silent = {"rules": [{"faults": [{"kind": "stall"}]}]}
    limits = Deadlines(first_token_s=0.1, stall_s=30, total_s=60)
    stalled = (await failed(silent, limits)).failure
    assert stalled is not None
    assert stalled.failure_class == FailureClass.BACKEND_STALLED
    assert (stalled.evidence["deadline"], stalled.evidence["tokens"]) == ("first_token", 0)
    slow = (await failed(silent, limits, Source(producing=lambda: True))).failure
    assert slow is not None
    assert slow.failure_class == FailureClass.BACKEND_SLOW


async def test_a_deadline_in_the_wait_for_a_server_carries_what_the_server_said() -> None:
    """Recovery then waits before it asks again, and the explanation names the true cause."""

    async def waiting() -> AsyncIterator[Delta]:
        said = {"status": 503, "loading": True, "transient": True, "retry_after_s": 3.0}
        yield Delta(waiting=EngineError("http://x answers 503: Loading model", evidence=said))
        await asyncio.sleep(60)

    limits = Deadlines(first_token_s=0.1, stall_s=30, total_s=60)
    outcome = await carry_out(order(deadlines=limits), waiting())
    failure = outcome.failure
    assert failure is not None
    assert failure.failure_class == FailureClass.BACKEND_UNREACHABLE
    assert "Loading model" in failure.message
    told = {"status": 503, "loading": True, "transient": True, "retry_after_s": 3.0}
    assert failure.evidence.items() >= {**told, "deadline": "first_token"}.items()


async def test_silence_after_tokens_is_a_stall_with_the_tokens_as_evidence() -> None:
    script = {"rules": [{"faults": [{"kind": "stall", "after_tokens": 7}]}]}
    outcome = await failed(script, Deadlines(30, 0.1, 60))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.BACKEND_STALLED
    assert outcome.failure.evidence["deadline"] == "stall"
    assert outcome.failure.evidence["tokens"] == outcome.usage.output_tokens == 7
    assert float(str(outcome.failure.evidence["silent_s"])) >= 0.1


async def test_tokens_that_flow_at_the_deadline_make_the_call_oversized() -> None:
    script = {"rates": {"tokens_per_s": 200}, "answer": {"tokens": 100_000}}
    outcome = await failed(script, Deadlines(30, 30, 0.4), Source(usual_tokens_per_s=lambda: 190.0))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CALL_OVERSIZED
    evidence = outcome.failure.evidence
    assert set(evidence) >= {"tokens", "tokens_per_s", "longest_gap_s", "seconds", "first_token_s"}
    assert evidence["tokens"] == outcome.usage.output_tokens > 10
    assert outcome.raw


async def test_far_below_the_usual_rate_the_backend_is_slow() -> None:
    script = {"rates": {"tokens_per_s": 50}, "answer": {"tokens": 100_000}}
    outcome = await failed(
        script, Deadlines(30, 30, 0.4), Source(usual_tokens_per_s=lambda: 2000.0)
    )
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.BACKEND_SLOW
    assert outcome.failure.evidence["usual_tokens_per_s"] == 2000.0


async def test_a_first_token_after_most_of_the_time_is_a_slow_backend() -> None:
    script = {"rates": {"tokens_per_s": 200, "ttft_s": 0.6}, "answer": {"tokens": 100_000}}
    outcome = await failed(script, Deadlines(30, 30, 1.0))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.BACKEND_SLOW


async def test_silence_when_the_total_strikes_is_a_stall() -> None:
    script = {"rules": [{"faults": [{"kind": "stall", "after_tokens": 3}]}]}
    outcome = await failed(script, Deadlines(30, 0.5, 0.4))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.BACKEND_STALLED
    assert outcome.failure.evidence["deadline"] == "total"


async def test_an_engine_that_does_not_let_go_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.replica.attempt._CLOSE_PATIENCE_S", 0.05)

    async def stubborn() -> AsyncIterator[Delta]:
        try:
            yield Delta("a", 1)
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(3600)

    wanted = order(deadlines=Deadlines(30, 0.05, 60))
    # The deadline's cancellation ends the first sleep; the second one is in the way of the end.
    outcome = await asyncio.wait_for(carry_out(wanted, stubborn()), 30)
    assert outcome.failure is not None
