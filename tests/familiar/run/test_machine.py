"""The run's state machine, driven without a cluster."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar import event as ev
from familiar.call import Failure
from familiar.errors import FailureClass
from familiar.limits import RunLimits
from familiar.run import command as cmd
from familiar.run.machine import RunMachine
from familiar.run.state import CallStatus
from familiar.run.turn_view import failed_plans
from tests.familiar.run.histories import observable
from tests.familiar.run.simulation import TIGHT, Simulation, limits


def carry(sim: Simulation, *order: str) -> None:
    """Answer what is due for the named calls, all the way to done, in that order."""
    sim.trouble = 0.0
    for name in order:
        while sim.machine.state.calls[name].status is not CallStatus.DONE:
            due = sim.machine.state.due.values()
            command = next(c for c in due if getattr(c, "call", "") == name)
            sim.commit(sim.answer(command))


def planned(*calls: ev.PlannedCall, continue_: bool = False) -> Simulation:
    """A run whose first plan has just been accepted."""
    files = tuple(call.output_file for call in calls if call.output_file)
    sim = Simulation(seed=0, trouble=0.0, files=files)
    for _ in range(3):
        sim.step()
    assert isinstance(next(iter(sim.machine.state.due.values())), cmd.JudgePlan)
    sim.commit(ev.PlanAccepted(turn=1, planner="model", continue_=continue_, calls=calls))
    return sim


def call(name: str, *depends_on: str, file: str | None = None) -> ev.PlannedCall:
    return ev.PlannedCall(
        id=name, alias="naughty", prompt="p", depends_on=depends_on, output_file=file
    )


def queued(sim: Simulation) -> set[str]:
    calls = sim.machine.state.calls.values()
    return {c.id for c in calls if c.status is CallStatus.QUEUED}


class TestDataflow:
    def test_a_call_is_queued_when_its_own_dependencies_are_done_and_not_a_wave_later(self) -> None:
        sim = planned(call("a"), call("slow"), call("b", "a"), call("c", "b", "slow"))
        assert queued(sim) == {"a", "slow"}
        carry(sim, "a")
        assert queued(sim) == {"slow", "b"}
        carry(sim, "b")
        assert queued(sim) == {"slow"}
        carry(sim, "slow")
        assert queued(sim) == {"c"}

    def test_a_file_counts_as_done_only_when_it_is_published(self) -> None:
        sim = planned(call("a", file="a.md"), call("b", "a"))
        for kind in (cmd.Dispatch, cmd.Carry):
            due = sim.machine.state.due.values()
            sim.commit(sim.answer(next(c for c in due if isinstance(c, kind))))
        assert sim.machine.state.calls["a"].status is CallStatus.PUBLISHING
        assert queued(sim) == set()
        carry(sim, "a")
        assert queued(sim) == {"b"}

    def test_a_given_up_call_skips_what_waits_for_it_and_only_that(self) -> None:
        sim = planned(call("a"), call("b", "a"), call("c", "b"), call("d"))
        due = sim.machine.state.due
        sim.commit(sim.answer(due["dispatch:a:1"]))
        refused = Failure(failure_class=FailureClass.BACKEND_REFUSED, message="404")
        sim.commit(ev.CallFailed(call="a", attempt=1, kind="worker", failure=refused))
        while any(isinstance(c, cmd.Record) for c in due.values()):
            record = next(c for c in due.values() if isinstance(c, cmd.Record))
            sim.commit(record.body)
        status = {c.id: c.status for c in sim.machine.state.calls.values() if c.kind == "worker"}
        assert status == {
            "a": CallStatus.FAILED,
            "b": CallStatus.SKIPPED,
            "c": CallStatus.SKIPPED,
            "d": CallStatus.QUEUED,
        }


class TestWaiting:
    def busy(self, sim: Simulation, wait_s: float | None) -> cmd.Dispatch:
        """The next dispatch of call a, whose server was busy."""
        sim.commit(sim.answer(sim.machine.state.due["dispatch:a:1"]))
        failure = Failure(FailureClass.BACKEND_UNREACHABLE, "429", {"transient": True})
        sim.commit(ev.CallFailed(call="a", attempt=1, kind="worker", failure=failure))
        chosen = ev.RecoveryChosen(
            call="a", attempt=1, action="retry_elsewhere", wait_s=wait_s, reasons=("busy",)
        )
        sim.commit(chosen)
        due = sim.machine.state.due["dispatch:a:2"]
        assert isinstance(due, cmd.Dispatch)
        return due

    def test_the_time_of_the_next_attempt_is_part_of_the_state(self) -> None:
        sim = planned(call("a"), call("b"))
        due = self.busy(sim, 30.0)
        assert due.not_before == sim.history[-1].at + 30.0
        assert sim.machine.state.due["dispatch:b:1"] == cmd.Dispatch("b", 1)
        sim.crash()
        assert sim.machine.state.due["dispatch:a:2"] == due

    def test_the_answer_of_the_dispatch_ends_the_wait(self) -> None:
        sim = planned(call("a"))
        sim.commit(sim.answer(self.busy(sim, 30.0)))
        assert "dispatch:a:2" not in sim.machine.state.due
        assert sim.machine.state.calls["a"].status is CallStatus.RUNNING

    def test_a_cancelled_run_waits_for_no_server(self) -> None:
        sim = planned(call("a"))
        self.busy(sim, 30.0)
        sim.commit(ev.RunCancelRequested())
        sim.commit(sim.machine.state.due.copy().popitem()[1].body)  # type: ignore[union-attr]
        assert sim.machine.state.due == {}

    def test_a_failure_that_asks_for_no_time_is_followed_at_once(self) -> None:
        assert self.busy(planned(call("a")), None).not_before == 0.0


class TestPlanning:
    def test_a_rejected_plan_is_asked_again_and_then_the_rules_planner_takes_over(self) -> None:
        sim = Simulation(seed=1, trouble=0.0)
        problem = ev.Problem(code="unknown_alias", message="no such role")
        for attempt in (1, 2):
            for _ in range(10):
                due = list(sim.machine.state.due.values())
                if isinstance(due[0], cmd.JudgePlan):
                    break
                sim.commit(sim.answer(due[0]))
            sim.commit(ev.PlanRejected(turn=1, attempt=attempt, problems=(problem,)))
        (command,) = sim.machine.state.due.values()
        assert isinstance(command, cmd.Record)
        assert isinstance(command.body, ev.PlannerChosen)
        assert "unknown_alias" in command.body.reasons[0]
        sim.commit(command.body)
        assert list(sim.machine.state.due.values()) == [cmd.PlanByRules(1)]

    def test_without_the_rules_planner_the_run_fails_with_the_reason(self) -> None:
        sim = Simulation(seed=1, trouble=1.0, limits=limits(rules_planner=False, plan_tries=1))
        end = sim.run()
        assert end.outcome == "failed"
        assert "has no plan" in end.reason


class TestEnds:
    def test_a_run_that_named_files_succeeds_only_with_every_one_of_them(self) -> None:
        for seed in range(300):
            sim = Simulation(seed=seed, trouble=0.3)
            end = sim.run()
            missing = sim.machine.state.missing
            assert (end.outcome == "succeeded") == (not missing), (seed, end)
            if missing:
                assert all(name in end.reason for name in missing)

    def test_budgets_end_the_run_by_name(self) -> None:
        for budget in ("model_calls", "output_tokens"):
            end = Simulation(seed=3, trouble=0.0, limits=limits(**{budget: 1})).run()
            assert end.failure_class is FailureClass.BUDGET_EXHAUSTED
            assert f"budgets.{budget}" in end.reason

    def test_cancelling_stops_what_runs_and_nothing_new_becomes_due(self) -> None:
        sim = planned(call("a"), call("b"))
        sim.commit(sim.answer(sim.machine.state.due["dispatch:a:1"]))
        sim.commit(ev.RunCancelRequested())
        end = next(c for c in sim.machine.state.due.values() if isinstance(c, cmd.Record))
        stops = sim.commit(end.body)
        assert [type(stop) for stop in stops] == [cmd.Stop]
        assert sim.machine.state.due == {}
        assert sim.ended is not None
        assert sim.ended.outcome == "cancelled"

    def test_two_fruitless_turns_in_a_row_are_the_end(self) -> None:
        sim = Simulation(seed=5, trouble=1.0, limits=limits(turns=50))
        end = sim.run()
        assert end.outcome == "failed"
        assert len(sim.machine.state.turns) == 2


class TestHistories:
    @given(
        seed=st.integers(0, 10**6),
        trouble=st.floats(0, 0.9),
        bounds=st.sampled_from([limits(), limits(synthesis=False), *TIGHT.values()]),
    )
    @settings(max_examples=200, deadline=None)
    def test_every_run_ends(self, seed: int, trouble: float, bounds: RunLimits) -> None:
        sim = Simulation(seed=seed, trouble=trouble, limits=bounds)
        assert sim.run().outcome in {"succeeded", "failed"}

    @given(
        seed=st.integers(0, 10**6),
        trouble=st.floats(0, 0.6),
        bounds=st.sampled_from([limits(), limits(partial_synthesis="model"), *TIGHT.values()]),
    )
    @settings(max_examples=100, deadline=None)
    def test_a_crash_after_any_event_recovers_to_the_same_state(
        self, seed: int, trouble: float, bounds: RunLimits
    ) -> None:
        sim = Simulation(seed=seed, trouble=trouble, limits=bounds)
        while sim.ended is None:
            before = observable(sim.machine.state)
            sim.crash()
            assert observable(sim.machine.state) == before
            sim.step()
        sim.crash()
        assert sim.ended is not None

    @given(seed=st.integers(0, 10**6), trouble=st.floats(0, 0.6))
    @settings(max_examples=60, deadline=None)
    def test_no_attempt_is_sent_out_again_after_its_terminal_event(
        self, seed: int, trouble: float
    ) -> None:
        sim = Simulation(seed=seed, trouble=trouble)
        sim.run()
        over: set[tuple[str, int]] = set()
        done: set[str] = set()
        for event in sim.history:
            body = event.body
            if isinstance(body, ev.CallDispatched):
                assert (body.call, body.attempt) not in over
                assert body.call not in done or body.kind == "plan"
            elif isinstance(body, ev.CallSucceeded | ev.CallFailed):
                over.add((body.call, body.attempt))
                if isinstance(body, ev.CallSucceeded):
                    done.add(body.call)

    def test_an_event_out_of_sequence_is_rejected(self) -> None:
        machine = RunMachine("r")
        with pytest.raises(ValueError, match="event 2 after 0"):
            machine.apply(ev.Event("r", 2, 1, 0.0, ev.TurnStarted(turn=1)))


class TestRejectedPlans:
    """What a run fails by when its plans are rejected until no attempt is left."""

    def end(self, *problems: str, given_up: FailureClass | None = None) -> ev.RunEnded:
        lim = limits(rules_planner=False, plan_tries=1)
        sim = Simulation(seed=0, trouble=0.0, files=("a.md",), limits=lim)
        while not any(isinstance(c, cmd.JudgePlan) for c in sim.machine.state.due.values()):
            sim.step()
        turn = 1
        if given_up is not None:
            calls = (call("a", file="a.md"),)
            sim.commit(ev.PlanAccepted(turn=1, planner="model", continue_=True, calls=calls))
            sim.commit(sim.answer(sim.machine.state.due["dispatch:a:1"]))
            failure = Failure(failure_class=given_up, message="no")
            sim.commit(ev.CallFailed(call="a", attempt=1, kind="worker", failure=failure))
            sim.commit(
                ev.RecoveryChosen(call="a", attempt=1, action="give_up", reasons=("enough",))
            )
            turn = 2
            while not any(isinstance(c, cmd.JudgePlan) for c in sim.machine.state.due.values()):
                sim.step()
        found = tuple(ev.Problem(code=code, message="no") for code in problems)
        sim.commit(ev.PlanRejected(turn=turn, attempt=1, problems=found, fingerprint="f"))
        assert sim.machine.state.rejected_plans == ["f"]
        return sim.run()

    @pytest.mark.parametrize(
        ("codes", "failure"),
        [
            (["unknown_alias"], FailureClass.PLAN_INVALID),
            (["plan_repeated", "unknown_alias"], FailureClass.PLAN_REPEATED),
            (["wire_unclosed"], FailureClass.WIRE_MALFORMED),
            (["wire_truncated"], FailureClass.CALL_TRUNCATED),
        ],
    )
    def test_the_class_is_of_what_was_wrong(self, codes: list[str], failure: FailureClass) -> None:
        assert self.end(*codes).failure_class is failure

    def test_a_repeated_plan_whose_backend_was_gone_fails_by_the_backend(self) -> None:
        gone = FailureClass.BACKEND_UNREACHABLE
        assert self.end("plan_repeated", given_up=gone).failure_class is gone
        large = FailureClass.CALL_OVERSIZED
        repeated = FailureClass.PLAN_REPEATED
        assert self.end("plan_repeated", given_up=large).failure_class is repeated

    def test_a_failed_plan_is_kept_with_its_calls_and_whole_ones_are_not_failed(self) -> None:
        sim = planned(call("a"), call("b"), continue_=True)
        carry(sim, "a")
        sim.commit(sim.answer(sim.machine.state.due["dispatch:b:1"]))
        failure = Failure(failure_class=FailureClass.CALL_OVERSIZED, message="300 s")
        sim.commit(ev.CallFailed(call="b", attempt=1, kind="worker", failure=failure))
        assert failed_plans(sim.machine.state) == ()
        sim.commit(ev.RecoveryChosen(call="b", attempt=1, action="give_up", reasons=("no",)))
        (plan,) = failed_plans(sim.machine.state)
        assert [c.id for c in plan.calls] == ["a", "b"]
        assert plan.to_blame == {"b"}
        assert "300 s" in plan.reasons["b"]
