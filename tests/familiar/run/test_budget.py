"""Budgets: told at the soft limit, ended at the hard one with what there is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar import event as ev
from familiar.call import Failure, Usage
from familiar.config.schema import BudgetConfig
from familiar.errors import FailureClass
from familiar.run import command as cmd
from familiar.run.budget import LETS_FINISH, UNITS, cost, notice
from familiar.run.state import CallStatus
from tests.familiar.run.simulation import PRICES, TIGHT, Simulation, limits


def reached(sim: Simulation, *, soft: bool) -> list[ev.BudgetReached]:
    bodies = [event.body for event in sim.history]
    return [b for b in bodies if isinstance(b, ev.BudgetReached) and b.soft == soft]


def test_every_budget_of_the_configuration_is_a_budget_of_a_run() -> None:
    assert set(UNITS) == set(BudgetConfig.model_fields) - {"soft", "attempts"}


@pytest.mark.parametrize("budget", TIGHT)
class TestHardLimits:
    def ends(self, budget: ev.Budget) -> list[Simulation]:
        """Runs that the budget ended."""
        found = []
        for seed in range(150):
            sim = Simulation(seed=seed, trouble=0.4, limits=TIGHT[budget])
            sim.run()
            spent = sim.machine.state.spent
            if spent is not None and spent.budget == budget:
                found.append(sim)
        assert len(found) > 5, "no run reached the budget"
        return found

    def test_the_run_ends_by_its_name_and_numbers(self, budget: ev.Budget) -> None:
        for sim in self.ends(budget):
            (hard,) = reached(sim, soft=False)
            assert hard.budget == budget
            assert hard.used >= hard.limit
            assert sim.ended is not None
            assert f"budgets.{budget}" in sim.ended.reason
            missing = sim.machine.state.missing
            assert sim.ended.outcome == ("failed" if missing else "succeeded")
            if missing:
                assert sim.ended.failure_class is FailureClass.BUDGET_EXHAUSTED
                assert all(file in sim.ended.reason for file in missing)

    def test_a_synthesis_says_what_there_is_before_the_end(self, budget: ev.Budget) -> None:
        for sim in self.ends(budget):
            last = sim.machine.state.syntheses[-1]
            assert isinstance(sim.history[-1].body, ev.RunEnded)
            assert (last.source, last.adopted) == ("rules", True)
            assert last.kind == ("partial" if sim.machine.state.missing else "final")

    def test_nothing_begins_behind_the_limit(self, budget: ev.Budget) -> None:
        for sim in self.ends(budget):
            seqs = [e.seq for e in sim.history if isinstance(e.body, ev.BudgetReached)]
            behind = [e.body for e in sim.history[seqs[-1] :]]
            assert not [b for b in behind if isinstance(b, ev.TurnStarted)]
            if budget in LETS_FINISH:
                assert not [b for b in behind if isinstance(b, ev.CallDispatched)]

    def test_a_written_file_is_still_published(self, budget: ev.Budget) -> None:
        for sim in self.ends(budget):
            (hard,) = reached(sim, soft=False)
            until = next(e.seq for e in sim.history if e.body is hard)
            for event in sim.history[:until]:
                if isinstance(event.body, ev.CallSucceeded) and event.body.kind == "worker":
                    call = sim.machine.state.calls[event.body.call]
                    assert call.status is CallStatus.DONE


class TestCounts:
    def test_a_plan_wider_than_the_calls_left_makes_as_many_as_are_left(self) -> None:
        sim = Simulation(seed=0, trouble=0.0, files=("a", "b", "c"), limits=limits(model_calls=3))
        for _ in range(3):
            sim.step()
        calls = tuple(
            ev.PlannedCall(id=f"c-{file}", alias="naughty", prompt="p", output_file=file)
            for file in ("a", "b", "c")
        )
        sim.commit(ev.PlanAccepted(turn=1, planner="model", continue_=False, calls=calls))
        end = sim.run()
        dispatched = [e for e in sim.history if isinstance(e.body, ev.CallDispatched)]
        assert len(dispatched) == 3
        assert len(sim.machine.state.files) == 2
        assert end.outcome == "failed"

    def test_a_call_that_never_came_to_a_model_is_not_counted(self) -> None:
        sim = Simulation(seed=0, trouble=0.0)
        sim.step()
        assert sim.machine.state.model_calls == 1
        waited = Failure(failure_class=FailureClass.QUEUE_TIMEOUT, message="full")
        sim.commit(ev.CallFailed(call="plan-1", attempt=1, kind="plan", failure=waited))
        assert sim.machine.state.model_calls == 0

    def test_money_is_the_price_of_the_pool_and_others_are_free(self) -> None:
        usage = Usage(prompt_tokens=1_000_000, output_tokens=500_000)
        priced = limits(prices=PRICES)
        assert cost(usage, "p", priced) == pytest.approx(1.0 + 5.0)
        assert cost(usage, "local", priced) == 0.0


class TestSoftLimits:
    @given(seed=st.integers(0, 10**6), trouble=st.floats(0, 0.6))
    @settings(max_examples=40, deadline=None)
    def test_each_is_told_once_and_before_its_end(self, seed: int, trouble: float) -> None:
        sim = Simulation(seed=seed, trouble=trouble, limits=limits(output_tokens=300, turns=3))
        sim.run()
        told = [body.budget for body in reached(sim, soft=True)]
        assert len(told) == len(set(told))
        for body in reached(sim, soft=True):
            assert 0.8 * body.limit <= body.used

    def test_the_next_plan_is_told(self) -> None:
        said = notice(ev.BudgetReached(budget="tokens", limit=10_000, used=8_100, soft=True))
        assert "8,100 of 10,000 tokens" in said


class TestWall:
    def test_the_clock_is_the_performers_and_says_it_once(self) -> None:
        sim = Simulation(seed=2, trouble=0.0)
        soft = sim.machine.wall_reached(48.0, soft=True)
        assert soft is not None
        sim.commit(soft)
        assert sim.machine.wall_reached(49.0, soft=True) is None
        hard = sim.machine.wall_reached(60.0, soft=False)
        assert hard is not None
        sim.commit(hard)
        assert sim.machine.wall_reached(61.0, soft=False) is None
        end = sim.run()
        assert end.failure_class is FailureClass.BUDGET_EXHAUSTED
        assert "60 of 60" in end.reason

    def test_running_calls_are_stopped(self) -> None:
        sim = Simulation(seed=2, trouble=0.0)
        sim.step()
        sim.commit(sim.answer(sim.machine.state.due["dispatch:plan-1:1"]))
        hard = sim.machine.wall_reached(60.0, soft=False)
        assert hard is not None
        sim.commit(hard)
        (synthesize,) = sim.machine.state.due.values()
        assert isinstance(synthesize, cmd.Synthesize)
        sim.commit(sim.answer(synthesize))
        (end,) = sim.machine.state.due.values()
        assert isinstance(end, cmd.Record)
        assert [type(stop) for stop in sim.commit(end.body)] == [cmd.Stop]

    @given(seed=st.integers(0, 10**6), at=st.integers(0, 60))
    @settings(max_examples=60, deadline=None)
    def test_it_may_strike_at_any_time(self, seed: int, at: int) -> None:
        sim = Simulation(seed=seed, trouble=0.2)
        for _ in range(at):
            if sim.ended is None:
                sim.step()
        if (hard := sim.machine.wall_reached(60.0, soft=False)) and sim.ended is None:
            sim.commit(hard)
        assert sim.run().outcome in {"succeeded", "failed"}
