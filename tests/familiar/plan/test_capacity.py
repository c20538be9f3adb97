"""Plans that ask for more than there is time or room for are refused, with the arithmetic."""

from __future__ import annotations

import pytest

from familiar.event import PlannedCall, Problem
from familiar.plan.capacity import capacity_findings
from familiar.plan.view import TurnView
from tests.familiar.plan.views import view


def call(
    name: str, prompt: str, *after: str, file: str | None = None, alias: str = "naughty"
) -> PlannedCall:
    return PlannedCall(id=name, alias=alias, prompt=prompt, depends_on=after, output_file=file)


def found(seen: TurnView, *calls: PlannedCall) -> tuple[Problem, ...]:
    return tuple(finding.problem for finding in capacity_findings(calls, seen))


class TestOversized:
    SITE = call("w1", "Write a site with six pages of 1,000 words each.", file="site.html")

    def test_a_call_that_cannot_be_written_within_its_deadline_is_rejected_with_the_sum(
        self,
    ) -> None:
        seen = view(
            rates={"naughty": 20.0},
            role={"max_tokens": 40_000, "context_length": 65_536, "deadline_s": 300.0},
        )
        (problem,) = found(seen, self.SITE)
        assert (problem.code, problem.call) == ("oversized", "w1")
        for part in ("6000 words", "20 tokens/s", "deadline is 300 s", "6000 tokens can", "Split"):
            assert part in problem.message

    @pytest.mark.parametrize("rates", [{}, {"grandpa": 20.0}, {"naughty": 200.0}])
    def test_without_a_measured_rate_or_with_a_fast_one_it_runs(
        self, rates: dict[str, float]
    ) -> None:
        room: dict[str, float | int] = {"max_tokens": 40_000, "context_length": 65_536}
        assert found(view(rates=rates, role=room), self.SITE) == ()

    def test_an_answer_that_would_be_cut_is_rejected_without_any_rate(self) -> None:
        (problem,) = found(view(), self.SITE)
        assert problem.code == "oversized"
        assert "cut at 512 tokens" in problem.message

    def test_an_answer_that_the_prompt_leaves_no_room_for_is_rejected(self) -> None:
        long = call("a", "Write 1500 words on this.\n" + "lorem ipsum " * 1_200)
        seen = view(role={"max_tokens": 4096, "context_length": 4096})
        (problem,) = found(seen, long)
        assert problem.code == "oversized"
        assert "4096 tokens, of which the prompt" in problem.message

    def test_a_call_that_says_nothing_of_its_length_can_be_written_short(self) -> None:
        slow = view(rates={"naughty": 0.5}, role={"deadline_s": 10.0})
        assert found(slow, call("a", "Write index.html.", file="index.html")) == ()


class TestTooWide:
    def calls(self, count: int, *after: str) -> tuple[PlannedCall, ...]:
        return tuple(call(f"c{n}", "Write 200 words.", *after) for n in range(count))

    def seen(self, **role: float) -> TurnView:
        return view(rates={"naughty": 10.0}, role={"queue_deadline_s": 60.0, **role})

    def test_a_queue_that_moves_on_in_time_is_normal(self) -> None:
        assert found(self.seen(), *self.calls(6)) == ()

    def test_the_last_call_must_start_before_its_queue_deadline(self) -> None:
        (problem,) = found(self.seen(), *self.calls(12))
        assert problem.code == "too_wide"
        for part in ("12 calls of naughty", "2 run side by side", "deadline is 60 s", "at most 6"):
            assert part in problem.message

    def test_the_plan_that_the_message_proposes_passes(self) -> None:
        assert found(self.seen(), *self.calls(6)) == ()

    def test_calls_that_become_ready_together_later_count_as_well(self) -> None:
        first = call("first", "Write 10 words.")
        (problem,) = found(self.seen(), first, *self.calls(12, "first"))
        assert problem.code == "too_wide"

    def test_a_chain_is_not_wide(self) -> None:
        chain = [
            call(f"c{n}", "Write 200 words.", *([f"c{n - 1}"] if n else [])) for n in range(12)
        ]
        assert found(self.seen(), *chain) == ()

    def test_the_pool_s_slots_bound_what_runs_side_by_side(self) -> None:
        wide = self.seen(parallel=64)
        assert found(wide, *self.calls(12)) == ()
        (problem,) = found(self.seen(parallel=64, slots=1), *self.calls(12))
        assert "1 run side by side" in problem.message

    def test_an_unmeasured_role_is_never_too_wide(self) -> None:
        assert found(view(role={"queue_deadline_s": 1.0}), *self.calls(200)) == ()
