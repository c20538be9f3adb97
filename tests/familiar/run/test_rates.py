"""The usual rate of a call: what ended calls really got, and nothing that silence made."""

from __future__ import annotations

import pytest

from familiar import event as ev
from familiar.call import Failure, Timing, Usage
from familiar.errors import FailureClass
from familiar.run.rates import SAMPLES, CallRates
from familiar.run.state import CallState

POOLS = {"naughty": "big", "coder": "big", "grandpa": "small"}


def calls(alias: str) -> dict[str, CallState]:
    return {"c": CallState(ev.PlannedCall(id="c", alias=alias, prompt=""), "worker", 1)}


def ended(tokens: int, seconds: float, failure: FailureClass | None = None) -> ev.Event:
    timing = Timing(started_at=0.0, first_token_at=90.0, ended_at=90.0 + seconds)
    usage = Usage(output_tokens=tokens)
    text = ev.text_ref("x")
    body: ev.Body
    if failure is None:
        body = ev.CallSucceeded(
            call="c", attempt=1, kind="worker", raw=text, text=text, timing=timing, usage=usage
        )
    else:
        record = Failure(failure_class=failure, message="")
        body = ev.CallFailed(
            call="c", attempt=1, kind="worker", failure=record, timing=timing, usage=usage
        )
    return ev.Event("r", 1, 1, 0.0, body)


def test_an_alias_has_no_rate_before_a_call_of_its_pool_has_ended() -> None:
    assert CallRates(POOLS).by_alias() == {}


def test_aliases_of_one_pool_share_its_rate_and_waiting_does_not_count() -> None:
    rates = CallRates(POOLS)
    rates.see(ended(100, 4.0), calls("naughty"))
    assert rates.by_alias() == {"naughty": 25.0, "coder": 25.0}


def test_one_odd_call_does_not_move_the_median() -> None:
    rates = CallRates(POOLS)
    for tokens in (100, 110, 90, 4_000):
        rates.see(ended(tokens, 1.0), calls("grandpa"))
    assert rates.by_alias() == {"grandpa": 105.0}


def test_a_pool_that_became_slower_shows_after_the_old_samples_are_gone() -> None:
    rates = CallRates(POOLS)
    for _ in range(SAMPLES):
        rates.see(ended(100, 1.0), calls("grandpa"))
    for _ in range(SAMPLES):
        rates.see(ended(100, 10.0), calls("grandpa"))
    assert rates.by_alias() == {"grandpa": 10.0}


@pytest.mark.parametrize("failure", list(FailureClass))
def test_failed_attempts_count_only_where_tokens_flowed_to_the_end(failure: FailureClass) -> None:
    rates = CallRates(POOLS)
    rates.see(ended(100, 4.0, failure), calls("naughty"))
    flowed = failure in (FailureClass.CALL_OVERSIZED, FailureClass.CALL_TRUNCATED)
    assert (rates.by_alias() != {}) is flowed


def test_a_handful_of_tokens_measures_nothing() -> None:
    rates = CallRates(POOLS)
    rates.see(ended(3, 0.0), calls("naughty"))
    assert rates.by_alias() == {}
