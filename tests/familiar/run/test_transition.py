"""Facts that come too late change nothing; decisions that a state cannot take raise."""

from __future__ import annotations

import pickle
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar import event as ev
from familiar.call import Failure, Timing, Usage
from familiar.errors import FailureClass, InvalidTransition
from familiar.limits import RunLimits
from familiar.run import command as cmd
from familiar.run.machine import RunMachine
from familiar.run.state import STORY_EVENTS, CallStatus
from familiar.run.transition import ALLOWED, Fact
from tests.familiar.run.histories import folded, observable
from tests.familiar.run.simulation import TIGHT, Simulation, limits

BOUNDS = st.sampled_from([limits(), limits(synthesis=False), *TIGHT.values()])
SEED = st.integers(0, 10**6)


def dispatched() -> Simulation:
    """A run whose plan call is running."""
    sim = Simulation(seed=0, trouble=0.0)
    sim.step()
    sim.commit(sim.answer(sim.machine.state.due["dispatch:plan-1:1"]))
    return sim


def succeeded(call: str, attempt: int = 1) -> ev.CallSucceeded:
    return ev.CallSucceeded(
        call=call,
        attempt=attempt,
        kind="plan",
        raw=ev.text_ref(call),
        text=ev.text_ref(call),
        timing=Timing(started_at=0.0, ended_at=1.0),
        usage=Usage(10, 10),
    )


def failed(call: str, attempt: int = 1) -> ev.CallFailed:
    failure = Failure(FailureClass.INTERNAL, "no")
    return ev.CallFailed(
        call=call, attempt=attempt, kind="plan", failure=failure, usage=Usage(10, 10)
    )


def published(call: str, attempt: int = 1) -> ev.FilePublished:
    return ev.FilePublished(
        call=call, attempt=attempt, path="a.md", sha256="0" * 64, size=1, commit="0" * 40
    )


def changes_nothing(sim: Simulation, *facts: ev.Body) -> None:
    for fact in facts:
        before = observable(sim.machine.state)
        assert not sim.machine.takes(fact)
        assert sim.commit(fact) == []
        after = observable(sim.machine.state)
        assert after.pop("late_facts") == typing.cast("int", before.pop("late_facts")) + 1
        assert after.pop("seq") == typing.cast("int", before.pop("seq")) + 1
        assert after == before


class TestFacts:
    def test_an_outcome_of_a_call_that_is_over_changes_nothing(self) -> None:
        sim = dispatched()
        sim.commit(succeeded("plan-1"))
        changes_nothing(sim, succeeded("plan-1"), failed("plan-1"), published("plan-1"))

    def test_an_outcome_of_an_attempt_before_the_current_one_changes_nothing(self) -> None:
        sim = dispatched()
        sim.commit(failed("plan-1"))
        changes_nothing(sim, succeeded("plan-1"), failed("plan-1"))
        sim.step()
        assert sim.machine.state.calls["plan-1"].attempt == 2
        sim.commit(sim.answer(sim.machine.state.due["dispatch:plan-1:2"]))
        adopted = ev.CallAdopted(call="plan-1", attempt=1, holder="p:0")
        changes_nothing(sim, succeeded("plan-1"), failed("plan-1"), adopted)

    def test_a_fact_of_a_call_that_does_not_exist_changes_nothing(self) -> None:
        sim = dispatched()
        changes_nothing(sim, succeeded("nobody"), failed("nobody"), published("nobody"))

    def test_a_budget_that_is_reached_again_changes_nothing(self) -> None:
        sim = dispatched()
        for soft in (True, False):
            sim.commit(ev.BudgetReached(budget="wall_s", limit=60, used=60, soft=soft))
            changes_nothing(sim, ev.BudgetReached(budget="wall_s", limit=60, used=61, soft=soft))

    def test_every_fact_after_the_end_changes_nothing(self) -> None:
        sim = dispatched()
        sim.commit(ev.RunEnded(outcome="cancelled", reason="enough"))
        changes_nothing(
            sim,
            succeeded("plan-1"),
            failed("plan-1"),
            published("plan-1"),
            ev.CallAdopted(call="plan-1", attempt=1, holder="p:0"),
            ev.RunCancelRequested(),
            ev.BudgetReached(budget="wall_s", limit=60, used=60, soft=False),
            ev.StackCompacted(turn=1, reason="long", tokens_before=2, tokens_after=1),
            ev.RunLimitsNoted(limits=limits()),
        )

    @given(seed=SEED, trouble=st.floats(0, 0.6), bounds=BOUNDS)
    @settings(max_examples=12, deadline=None)
    def test_no_fact_raises_in_any_state(
        self, seed: int, trouble: float, bounds: RunLimits
    ) -> None:
        other = Simulation(seed=seed + 1, trouble=0.5)
        other.run()
        facts = [event.body for event in other.history if isinstance(event.body, Fact)]
        sim = Simulation(seed=seed, trouble=trouble, limits=bounds)
        sim.run()
        for length in range(1, len(sim.history) + 1):
            body = facts[(seed + length) % len(facts)]
            machine = folded(sim.history[:length], limits())
            machine.apply(ev.Event("r", length + 1, 1, 0.0, body))


class TestDecisions:
    def rejects(self, sim: Simulation, *decisions: ev.Body) -> None:
        for decision in decisions:
            before = observable(sim.machine.state)
            assert not sim.machine.takes(decision)
            event = ev.Event("r", len(sim.history) + 1, 1, 0.0, decision)
            with pytest.raises(InvalidTransition):
                sim.machine.apply(event)
            assert observable(sim.machine.state) == before

    def test_a_history_begins_with_its_submission_and_has_only_one(self) -> None:
        sim = dispatched()
        self.rejects(sim, sim.history[0].body)
        with pytest.raises(InvalidTransition, match="a history begins"):
            RunMachine("r").apply(ev.Event("r", 1, 1, 0.0, ev.TurnStarted(turn=1)))

    def test_a_submission_without_limits_is_not_folded(self) -> None:
        body = dispatched().history[0].body.model_copy(update={"limits": None})
        with pytest.raises(InvalidTransition, match="no limits"):
            RunMachine("r").apply(ev.Event("r", 1, 1, 0.0, body))

    def test_a_turn_follows_the_last_one(self) -> None:
        self.rejects(dispatched(), ev.TurnStarted(turn=1), ev.TurnStarted(turn=3))

    def test_a_plan_is_judged_once_and_after_its_answer(self) -> None:
        sim = dispatched()
        plan = ev.PlanAccepted(turn=1, planner="model", continue_=False, calls=())
        problem = ev.Problem(code="x", message="no")
        rejected = ev.PlanRejected(turn=1, attempt=1, problems=(problem,))
        self.rejects(sim, plan, rejected)
        sim.commit(succeeded("plan-1"))
        self.rejects(sim, rejected.model_copy(update={"attempt": 2}))
        sim.commit(plan.model_copy(update={"calls": (planned("a"),)}))
        chosen = ev.PlannerChosen(turn=1, planner="rules", reasons=())
        self.rejects(sim, plan, rejected, chosen)

    def test_a_plan_whose_graph_cannot_be_walked_is_not_taken(self) -> None:
        sim = dispatched()
        sim.commit(succeeded("plan-1"))
        for calls in (
            (planned("a"), planned("a")),
            (planned("plan-1"),),
            (planned("a", "nobody"),),
            (planned("a", "a"),),
            (planned("a", "b"), planned("b", "a"), planned("c")),
        ):
            plan = ev.PlanAccepted(turn=1, planner="model", continue_=False, calls=calls)
            self.rejects(sim, plan)

    def test_nothing_is_decided_after_the_end(self) -> None:
        sim = dispatched()
        end = ev.RunEnded(outcome="cancelled", reason="enough")
        sim.commit(end)
        self.rejects(sim, end, ev.TurnStarted(turn=2))

    def test_the_error_tells_the_story_of_the_call_and_survives_pickling(self) -> None:
        sim = dispatched()
        sim.commit(failed("plan-1"))
        skipped = ev.CallSkipped(call="plan-1", because=())
        with pytest.raises(InvalidTransition) as caught:
            sim.machine.apply(ev.Event("r", len(sim.history) + 1, 1, 0.0, skipped))
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.run_id, error.call) == ("r", "plan-1")
        assert [line.split()[1] for line in error.story] == ["call.dispatched", "call.failed"]
        assert "call plan-1 is recovering" in str(error)
        assert all(line in str(error) for line in error.story)

    def test_the_story_is_bounded(self) -> None:
        sim = dispatched()
        for _ in range(3 * STORY_EVENTS):
            sim.commit(ev.CallAdopted(call="plan-1", attempt=1, holder="p:0"))
        assert len(sim.machine.state.calls["plan-1"].story) == STORY_EVENTS

    def test_every_status_has_a_row(self) -> None:
        assert set(ALLOWED) == set(CallStatus)

    @given(seed=SEED, trouble=st.floats(0, 0.6), bounds=BOUNDS)
    @settings(max_examples=12, deadline=None)
    def test_no_decision_is_taken_twice(self, seed: int, trouble: float, bounds: RunLimits) -> None:
        sim = Simulation(seed=seed, trouble=trouble, limits=bounds)
        sim.run()
        for event in sim.history:
            if not isinstance(event.body, Fact | ev.PlannerChosen):
                machine = folded(sim.history[: event.seq], limits())
                assert not machine.takes(event.body), event.body


class TestCrash:
    @given(seed=SEED, trouble=st.floats(0, 0.6), bounds=BOUNDS)
    @settings(max_examples=15, deadline=None)
    def test_a_crash_between_a_fact_and_its_decision_makes_the_decision_again(
        self, seed: int, trouble: float, bounds: RunLimits
    ) -> None:
        """At each event of a history: what the machine wants to record next is due after a fold."""
        sim = Simulation(seed=seed, trouble=trouble, limits=bounds)
        live = RunMachine("r")
        for event in sim.run() and sim.history:
            made = [c for c in live.apply(event) if isinstance(c, cmd.Record)]
            again = folded(sim.history[: event.seq], limits())
            assert list(again.state.due.items()) == list(live.state.due.items())
            for record in made:
                assert again.state.due[record.due] == record


def planned(name: str, *depends_on: str) -> ev.PlannedCall:
    return ev.PlannedCall(id=name, alias="naughty", prompt="p", depends_on=depends_on)
