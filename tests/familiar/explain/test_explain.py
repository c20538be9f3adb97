"""An explanation follows the figures in the events, also where a recorded class says otherwise."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from familiar import event as ev
from familiar.errors import FailureClass as F
from familiar.explain import explain as diagnosis
from familiar.explain.cause import ORDER, TEXTS, Cause
from familiar.explain.explain import explain
from familiar.explain.explanation import Explanation, RankedCause
from familiar.failure import FAILURES
from tests.familiar.explain.histories import History, call


def first(explanation: Explanation) -> RankedCause:
    return explanation.causes[0]


def failed(history: History, failure: F) -> Explanation:
    history.fail(failure)
    return explain(history.events)


@pytest.fixture
def history() -> History:
    """A run whose pool has served three calls at 50 tokens/s."""
    made = History()
    made.plan(call("a"), call("b"), call("c"), call("w"))
    for name in ("a", "b", "c"):
        made.good(name)
    return made


def test_tokens_flowing_at_the_usual_rate_until_the_deadline_are_an_oversized_call(
    history: History,
) -> None:
    seq = history.timed("w", F.CALL_OVERSIZED, rate=49.0, max_tokens=2000)
    found = first(failed(history, F.CALL_OVERSIZED))
    assert found.cause is Cause.CALL_OVERSIZED
    assert found.decisive
    assert not found.contradicts
    arithmetic = next(e for e in found.evidence if "What fits" in e.says)
    assert arithmetic.events == (seq,)
    assert arithmetic.figures["fits_tokens"] == round(49.0 * (5.0 - 0.2))
    ruled_out = {excluded.cause for excluded in found.ruled_out}
    assert {Cause.BACKEND_UNREACHABLE, Cause.BACKEND_SLOW, Cause.BACKEND_STALLED} <= ruled_out
    assert any("deadline_s" in change for change in found.change)


@pytest.mark.parametrize("claimed", [F.BACKEND_UNREACHABLE, F.BACKEND_SLOW, F.BACKEND_STALLED])
def test_a_class_that_the_figures_contradict_is_named_and_not_followed(
    history: History, claimed: F
) -> None:
    """The field study's failure: a backend was blamed that had been writing all the time."""
    history.timed("w", claimed, rate=49.0)
    found = first(failed(history, claimed))
    assert found.cause is Cause.CALL_OVERSIZED
    assert found.contradicts == (
        f"w/1 was recorded as {claimed}; the evidence says call_oversized.",
    )


def test_far_below_the_usual_rate_is_a_slow_backend(history: History) -> None:
    history.timed("w", F.CALL_OVERSIZED, rate=5.0, silent_s=0.1)
    found = first(failed(history, F.CALL_OVERSIZED))
    assert found.cause is Cause.BACKEND_SLOW
    assert found.contradicts


def test_silence_is_a_stalled_backend(history: History) -> None:
    history.timed("w", F.CALL_OVERSIZED, rate=50.0, silent_s=3.5)
    found = first(failed(history, F.CALL_OVERSIZED))
    assert found.cause is Cause.BACKEND_STALLED


def test_without_a_token_it_is_stalled_unless_others_were_served(history: History) -> None:
    quiet = {"deadline": "first_token", "silent_s": 2.0, "stall_limit_s": 2.0, "probe": "ok"}
    history.bad("w", F.BACKEND_STALLED, **quiet)
    assert first(failed(history, F.BACKEND_STALLED)).cause is Cause.BACKEND_STALLED
    busy = History()
    busy.plan(call("w"))
    busy.bad("w", F.BACKEND_STALLED, took_s=20.0, **quiet, engine_tokens_per_s=80.0)
    found = first(failed(busy, F.BACKEND_STALLED))
    assert found.cause is Cause.BACKEND_SLOW
    assert found.contradicts


WAITED = {
    "deadline": "first_token",
    "deadline_s": 30.0,
    "stall_limit_s": 5.0,
    "silent_s": 30.0,
    "transient": True,
    "probe": "ok",
}
"""A deadline struck while the engine waited for its server."""


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        ({"probe": "failed"}, Cause.BACKEND_DIED),
        ({"probe": "process gone", "process_died": True}, Cause.BACKEND_DIED),
        ({"probe": "ok", "tokens": 12}, Cause.STREAM_CUT),
        ({"probe": "process gone", "node": "gone", "node_id": "ab"}, Cause.NODE_LOST),
        ({"status": 429, "probe": "ok"}, Cause.BACKEND_OVERLOADED),
        ({"status": 503, "probe": "ok"}, Cause.BACKEND_OVERLOADED),
        ({"status": 503, "loading": True, "probe": "ok"}, Cause.BACKEND_LOADING),
        ({**WAITED, "status": 503, "loading": True}, Cause.BACKEND_LOADING),
        ({**WAITED, "status": 429}, Cause.BACKEND_OVERLOADED),
        ({**WAITED, "error": "ConnectError"}, Cause.BACKEND_UNREACHABLE),
    ],
)
def test_what_was_gone_is_told_by_what_is_left(
    history: History, evidence: dict[str, ev.JsonValue], cause: Cause
) -> None:
    history.bad("w", F.BACKEND_UNREACHABLE, **{"tokens": 0, **evidence})  # type: ignore[arg-type]
    assert first(failed(history, F.BACKEND_UNREACHABLE)).cause is cause


def test_a_quota_that_is_used_up_is_no_load_that_passes(history: History) -> None:
    history.bad("w", F.BACKEND_REFUSED, status=429, probe="ok")
    assert first(failed(history, F.BACKEND_REFUSED)).cause is Cause.BACKEND_REFUSED


def test_an_empty_address_is_not_a_death() -> None:
    history = History()
    history.plan(call("w"))
    history.bad("w", F.BACKEND_UNREACHABLE, probe="failed", error="ConnectError")
    assert first(failed(history, F.BACKEND_UNREACHABLE)).cause is Cause.BACKEND_UNREACHABLE


def test_two_outages_with_service_between_them_are_flapping() -> None:
    history = History()
    history.plan(call("a"), call("b"), call("w"))
    history.bad("a", F.BACKEND_UNREACHABLE, tokens=5, probe="process gone", action="retry")
    history.good("a", 2)
    history.bad("b", F.BACKEND_UNREACHABLE, tokens=5, probe="process gone")
    found = first(failed(history, F.BACKEND_UNREACHABLE))
    assert found.cause is Cause.BACKEND_FLAPPING
    once = History()
    once.plan(call("a"), call("b"))
    once.good("a")
    once.bad("b", F.BACKEND_UNREACHABLE, tokens=5, probe="process gone", action="retry")
    once.bad("b", F.BACKEND_UNREACHABLE, 2, tokens=5, probe="process gone")
    assert first(failed(once, F.BACKEND_UNREACHABLE)).cause is Cause.BACKEND_DIED


def test_a_pool_that_never_came_up_for_its_models_name_is_not_unreachable() -> None:
    history = History()
    history.plan(call("w"))
    history.bad(
        "w",
        F.BACKEND_UNREACHABLE,
        started=False,
        pool="pool",
        start_class="backend_refused",
        model="smol",
        serves="large, medium",
        reason="http://h does not serve the model smol; it serves large, medium.",
    )
    found = first(failed(history, F.BACKEND_UNREACHABLE))
    assert found.cause is Cause.MODEL_UNKNOWN
    assert found.contradicts
    assert any("large, medium" in change for change in found.change)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("turns", Cause.BUDGET_TURNS),
        ("model_calls", Cause.BUDGET_MODEL_CALLS),
        ("output_tokens", Cause.BUDGET_OUTPUT_TOKENS),
        ("tokens", Cause.BUDGET_TOKENS),
        ("wall_s", Cause.BUDGET_WALL),
        ("recoveries", Cause.BUDGET_RECOVERIES),
        ("money", Cause.BUDGET_MONEY),
    ],
)
def test_a_spent_budget_is_first_with_what_was_counted(
    history: History, name: ev.Budget, cause: Cause
) -> None:
    history.add(ev.BudgetReached(budget="turns", limit=9, used=8, soft=True))
    history.bad("w", F.BACKEND_UNREACHABLE, probe="failed")
    history.plan(call("x"), turn=2, more=True)
    history.good("x")
    seq = history.add(ev.BudgetReached(budget=name, limit=9, used=9, soft=False))
    history.fail(F.BUDGET_EXHAUSTED, f"the budget budgets.{name} is used up (9 of 9)")
    found = explain(history.events)
    assert found.cause is cause
    reached = next(e for e in first(found).evidence if e.events == (seq,))
    assert reached.figures == {"limit": 9, "used": 9}
    counted = next(e for e in first(found).evidence if e.says.startswith("Counted"))
    assert counted.figures["model_calls"] == 7
    assert Cause.BACKEND_DIED in {also.cause for also in found.causes[1:]}


def test_waiting_for_a_pool_without_a_replica_is_no_full_queue() -> None:
    history = History()
    history.plan(call("w"))
    history.bad("w", F.QUEUE_TIMEOUT, waited_s=2.0, queued=1, ready_slots=0, pool="pool")
    found = first(failed(history, F.QUEUE_TIMEOUT))
    assert found.cause is Cause.BACKEND_UNREACHABLE
    assert found.contradicts


def test_turns_that_are_used_up_by_a_lost_call_are_not_the_cause(history: History) -> None:
    history.bad("w", F.BACKEND_UNREACHABLE, probe="failed")
    history.add(ev.BudgetReached(budget="turns", limit=1, used=1, soft=False))
    history.fail(F.BUDGET_EXHAUSTED, "the budget budgets.turns is used up (1 of 1)")
    found = explain(history.events)
    assert found.cause is Cause.BACKEND_DIED
    assert Cause.BUDGET_TURNS in {also.cause for also in found.causes[1:]}


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("plan_malformed", Cause.WIRE_MALFORMED),
        ("dependency_cycle", Cause.PLAN_INVALID),
        ("plan_repeated", Cause.PLAN_REPEATED),
    ],
)
def test_rejected_plans_are_told_apart_by_their_problems(code: str, cause: Cause) -> None:
    history = History()
    history.add(ev.TurnStarted(turn=1))
    history.reject(code)
    seq = history.reject(code, attempt=2)
    found = first(failed(history, F.PLAN_INVALID))
    assert found.cause is cause
    assert (seq,) in [evidence.events for evidence in found.evidence]


def test_a_plan_repeated_after_an_oversized_call_is_the_consequence() -> None:
    history = History("site.md")
    history.plan(call("w", file="site.md"))
    history.timed("w", F.CALL_OVERSIZED, rate=50.0)
    history.reject("plan_repeated", turn=2)
    found = failed(history, F.PLAN_REPEATED)
    assert [also.cause for also in found.causes[:2]] == [Cause.CALL_OVERSIZED, Cause.PLAN_REPEATED]


def test_a_plan_inside_a_prompt_is_seen(history: History) -> None:
    history = History()
    inner = json.dumps({"continue": False, "worker_calls": []})
    history.plan(call("w", prompt=inner))
    history.bad("w", F.OUTPUT_INVALID)
    assert first(failed(history, F.OUTPUT_INVALID)).cause is Cause.WIRE_NESTED


def test_a_success_is_explained_by_what_slowed_it(history: History) -> None:
    history.bad("w", F.BACKEND_UNREACHABLE, took_s=7.0, probe="failed", action="retry")
    history.good("w", 2)
    history.succeed()
    found = explain(history.events)
    assert found.outcome == "succeeded"
    assert found.cause is Cause.BACKEND_DIED
    assert not first(found).decisive
    assert first(found).lost_s == pytest.approx(7.0)


def test_waiting_for_slots_is_what_slowed_a_run_that_nothing_broke() -> None:
    history = History()
    history.plan(call("a"))
    history.now += 6.0
    history.good("a", waited_s=5.0)
    history.succeed()
    assert explain(history.events).cause is Cause.QUEUE_WAIT


def test_an_open_run_says_what_it_waits_for(history: History) -> None:
    history.send("w")
    found = explain(history.events)
    assert (found.outcome, found.cause) == ("running", Cause.NOTHING_WRONG)
    assert "w/1" in found.symptom


@pytest.mark.parametrize(
    ("asked", "says"), [({"retry_after_s": 12.0}, ", as it asked"), ({}, "")], ids=["asked", "not"]
)
def test_the_wait_for_a_busy_server_is_told_and_counted(
    history: History, asked: dict[str, float], says: str
) -> None:
    history.bad(
        "w", F.BACKEND_UNREACHABLE, action="retry", wait_s=12.0, status=429, transient=True, **asked
    )
    history.now += 12.0
    history.good("w", 2, waited_s=0.0)
    history.succeed()
    found = first(explain(history.events))
    assert found.cause is Cause.BACKEND_OVERLOADED
    assert any(e.says.endswith(f"waited 12.0 s for the server{says}") for e in found.evidence)
    assert found.lost_s == pytest.approx(13.0)


def test_another_replica_that_took_the_call_at_once_was_no_wait(history: History) -> None:
    history.bad("w", F.BACKEND_UNREACHABLE, action="retry", wait_s=12.0, transient=True)
    history.good("w", 2, replica="pool:1", waited_s=0.0)
    history.succeed()
    assert "for the server" not in str(explain(history.events).causes)


def test_every_event_number_that_is_named_exists(history: History) -> None:
    history.timed("w", F.CALL_OVERSIZED, rate=49.0)
    found = failed(history, F.CALL_OVERSIZED)
    for cause in found.causes:
        for item in (*cause.evidence, *cause.ruled_out):
            assert all(1 <= seq <= found.events for seq in item.events)


def test_every_cause_has_its_words_and_its_place() -> None:
    assert set(TEXTS) == set(Cause) == set(ORDER)
    for row in FAILURES.values():
        assert all(Cause(name) for name in row.finer)


def test_the_readme_lists_every_cause() -> None:
    readme = Path(diagnosis.__file__).with_name("README.md").read_text(encoding="utf-8")
    table = readme.split("## Causes")[1].split("## Evidence against a cause")[0]
    assert set(re.findall(r"`([a-z_]+)`(?=[^|\n]*\|)", table)) >= {cause.value for cause in Cause}


def test_nothing_is_explained_from_no_events() -> None:
    with pytest.raises(ValueError, match="no event"):
        explain([])


def _long(attempts: int) -> list[ev.Event]:
    history = History()
    history.plan(*(call(f"c{n}") for n in range(attempts)))
    for n in range(attempts):
        history.bad(f"c{n}", F.BACKEND_UNREACHABLE, tokens=5, probe="failed", action="retry")
        history.good(f"c{n}", 2)
    history.fail(F.BACKEND_UNREACHABLE)
    return history.events


def _steps(events: list[ev.Event]) -> int:
    """How many functions Python calls to explain this."""
    count = 0

    def see(frame: object, kind: str, argument: object) -> None:
        nonlocal count
        count += kind in {"call", "c_call"}

    sys.setprofile(see)
    try:
        explain(events)
    finally:
        sys.setprofile(None)
    return count


def test_work_grows_with_the_history_and_not_with_its_square() -> None:
    _steps(_long(50))
    assert _steps(_long(400)) < 5 * _steps(_long(100))
