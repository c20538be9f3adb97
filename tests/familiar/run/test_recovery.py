"""Recovery after a failed attempt: the table as a specification, and the arithmetic behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from familiar import event as ev
from familiar.call import CallKind, Failure, Usage
from familiar.errors import FailureClass as F
from familiar.failure import FAILURES, Recovery
from familiar.run import continuation
from familiar.run.recovery import choose_recovery, follow_up
from familiar.run.state import CallState, CallStatus, FollowUp
from tests.familiar.run.simulation import limits

REMEDIES = {c: row.reaction for c, row in FAILURES.items() if isinstance(row.reaction, Recovery)}
RUN_LEVEL = {c: row.reaction for c, row in FAILURES.items() if isinstance(row.reaction, str)}
README = Path(__file__).parents[3] / "familiar" / "run" / "README.md"
PARTIAL = ev.text_ref("<h1>Hours")
FLOWING: Mapping[str, JsonValue] = {
    "deadline": "total",
    "deadline_s": 300.0,
    "first_token_s": 0.0,
    "tokens_per_s": 20.0,
    "max_tokens": 32_768,
}
"""6,000 tokens in one attempt."""


def failed_call(
    *failures: F,
    kind: CallKind = "worker",
    tokens: int = 6_000,
    written: int | None = None,
    grammar: str | None = None,
    raw: ev.TextRef | None = PARTIAL,
    evidence: Mapping[str, JsonValue] = FLOWING,
    going_on: bool = False,
) -> CallState:
    """A call whose attempts failed with `failures`; the last wrote `tokens`, all `written`."""
    planned = ev.PlannedCall(id="page", alias="naughty", prompt="Write it.", output_file="a.html")
    call = CallState(planned, kind, 1, status=CallStatus.WAITING, attempt=len(failures))
    call.failures = list(failures)
    call.replica = "smol:0"
    call.grammar = grammar
    call.written_tokens = tokens if written is None else written
    call.follow_up = FollowUp(ev.text_ref("<h1>"), continues=True) if going_on else None
    call.last_failure = ev.CallFailed(
        call="page",
        attempt=len(failures),
        kind=kind,
        failure=Failure(failure_class=failures[-1], message="broken", evidence=dict(evidence)),
        usage=Usage(output_tokens=tokens),
        raw=raw,
    )
    return call


def choose(call: CallState, attempts: int = 20) -> ev.RecoveryChosen:
    return choose_recovery(call, limits(attempts=attempts), "r")


class TestTable:
    def test_every_class_has_a_row_and_only_one(self) -> None:
        assert set(FAILURES) == set(F)

    def test_the_readme_shows_the_table_of_the_code(self) -> None:
        rows = [
            f"| `{cause}` | {row.action} | {row.times} | {row.then} | {row.why} | {row.never} |"
            for cause, row in REMEDIES.items()
        ]
        rows += [f"| `{cause}` | {what} |" for cause, what in RUN_LEVEL.items()]
        part = README.read_text().partition("## Budgets")[0]
        shown = [line for line in part.splitlines() if line.startswith("| `")]
        assert shown == rows, "\n".join(rows)

    @pytest.mark.parametrize("cause", REMEDIES)
    def test_a_class_is_answered_as_often_as_its_row_says(self, cause: F) -> None:
        row = REMEDIES[cause]
        # 300 of a possible 6,000 tokens: small enough to go on as often as the row allows.
        actions = [
            choose(failed_call(*[cause] * n, tokens=300)).action for n in range(1, row.times + 2)
        ]
        assert actions == [row.action] * row.times + [row.then]

    @pytest.mark.parametrize("cause", RUN_LEVEL)
    def test_a_call_is_not_attempted_again_for_a_class_of_runs(self, cause: F) -> None:
        chosen = choose(failed_call(cause))
        assert chosen.action == "give_up"
        assert chosen.reasons[0].startswith(cause)

    def test_a_lost_backend_is_left_for_another_replica(self) -> None:
        for cause in (F.BACKEND_UNREACHABLE, F.BACKEND_STALLED, F.BACKEND_SLOW):
            assert choose(failed_call(cause)).avoid_replica == "smol:0"

    def test_the_attempts_of_a_call_are_bounded_over_all_classes_but_a_lost_process(self) -> None:
        mixed = (F.INTERNAL, F.WIRE_MALFORMED, F.BACKEND_STALLED)
        assert choose(failed_call(*mixed), attempts=4).action == "retry_elsewhere"
        given_up = choose(failed_call(*mixed), attempts=3)
        assert given_up.action == "give_up"
        assert "budgets.attempts is 3" in given_up.reasons[0]
        lost = [F.WORKBENCH_LOST] * 5
        assert choose(failed_call(*lost), attempts=3).action == "retry"
        assert choose(failed_call(*lost, F.INTERNAL), attempts=3).action == "retry"


class TestWaiting:
    """A server that asks for time gets it, within the queue deadline of the alias."""

    def chosen(self, *failures: F, **evidence: JsonValue) -> ev.RecoveryChosen:
        call = failed_call(*failures or (F.BACKEND_UNREACHABLE,), evidence=evidence)
        held = limits(attempts=20, longest_waits={"naughty": 100.0})
        return choose_recovery(call, held, "r")

    def test_it_waits_as_long_as_the_server_asks(self) -> None:
        chosen = self.chosen(transient=True, retry_after_s=30.0)
        assert chosen.action == "retry_elsewhere"
        assert chosen.wait_s is not None
        assert 30.0 <= chosen.wait_s <= 36.0
        assert chosen.reasons[-1] == "the server asks for 30 s"

    def test_without_a_time_the_pause_grows_up_to_a_minute(self) -> None:
        waits = [
            self.chosen(*[F.BACKEND_UNREACHABLE] * n, transient=True).wait_s for n in range(1, 7)
        ]
        for wait, least in zip(waits, (2.0, 4.0, 8.0, 16.0, 32.0, 60.0), strict=True):
            assert wait is not None
            assert least <= wait <= least * 1.2
        assert self.chosen(transient=True).reasons[-1] == "the server is busy or not up yet"

    @pytest.mark.parametrize("asked", [-1.0, float("inf"), float("nan"), "soon", True, None])
    def test_a_time_that_is_none_counts_as_not_said(self, asked: JsonValue) -> None:
        chosen = self.chosen(transient=True, retry_after_s=asked)
        assert chosen.wait_s is not None
        assert 2.0 <= chosen.wait_s <= 2.4

    def test_a_wait_beyond_the_deadline_is_not_begun(self) -> None:
        chosen = self.chosen(transient=True, retry_after_s=3_600.0)
        assert (chosen.action, chosen.wait_s) == ("give_up", None)
        assert "asks for 3600 s, and naughty waits 100 s at most" in chosen.reasons[-1]

    def test_an_engine_of_ours_is_asked_elsewhere_at_once(self) -> None:
        assert self.chosen().wait_s is None
        assert self.chosen(retry_after_s=30.0, transient=False).wait_s is None

    def test_a_call_that_is_given_up_waits_for_nothing(self) -> None:
        used_up = [F.BACKEND_UNREACHABLE] * 7
        chosen = self.chosen(*used_up, transient=True, retry_after_s=1.0)
        assert (chosen.action, chosen.wait_s) == ("give_up", None)

    def test_calls_and_runs_do_not_come_back_at_one_moment(self) -> None:
        call = failed_call(F.BACKEND_UNREACHABLE, evidence={"transient": True, "retry_after_s": 60})
        waits = {choose_recovery(call, limits(), f"run-{n}").wait_s for n in range(50)}
        assert len(waits) > 40
        assert choose_recovery(call, limits(), "r") == choose_recovery(call, limits(), "r")


class TestContinuing:
    def test_an_oversized_call_goes_on_when_the_rest_fits_into_its_attempts(self) -> None:
        chosen = choose(failed_call(F.CALL_OVERSIZED))
        assert chosen.action == "continue"
        assert chosen.evidence["tokens_written"] == 6_000
        assert chosen.evidence["tokens_an_attempt"] == 6_000
        assert chosen.evidence["tokens_expected"] == 12_000

    def test_otherwise_it_is_split_with_the_arithmetic(self) -> None:
        chosen = choose(failed_call(F.CALL_OVERSIZED, F.CALL_OVERSIZED, written=12_000))
        assert chosen.action == "split"
        assert chosen.evidence["pieces"] == 4
        said = chosen.reasons[-1]
        assert "wrote 12000 tokens" in said
        assert "at most 6000 tokens (20.0 tokens/s, 300 s)" in said
        assert "at least 4 smaller calls" in said

    def test_what_the_call_was_asked_for_is_the_estimate_while_it_is_longer(self) -> None:
        call = failed_call(F.CALL_OVERSIZED)
        asked = {"prompt": "Write 20000 words about bread.", "output_file": "bread.md"}
        call.planned = call.planned.model_copy(update=asked)
        size = continuation.measure(call)
        assert size.expected > 40_000
        assert choose(call).action == "split"

    def test_near_max_tokens_the_rest_is_known_to_be_short(self) -> None:
        evidence = {**FLOWING, "max_tokens": 13_000}
        call = failed_call(F.CALL_OVERSIZED, F.CALL_OVERSIZED, written=12_000, evidence=evidence)
        assert choose(call).action == "continue"

    def test_a_truncated_call_goes_on_and_then_is_split(self) -> None:
        evidence = {**FLOWING, "max_tokens": 2_000}
        once = failed_call(F.CALL_TRUNCATED, tokens=2_000, evidence=evidence)
        assert choose(once).action == "continue"
        twice = failed_call(*[F.CALL_TRUNCATED] * 2, tokens=2_000, written=4_000, evidence=evidence)
        assert choose(twice).action == "split"

    @pytest.mark.parametrize(
        ("call", "why"),
        [
            (failed_call(F.CALL_OVERSIZED, grammar="html-page"), "cannot be resumed"),
            (failed_call(F.CALL_OVERSIZED, raw=None), "nothing was written"),
            (failed_call(F.CALL_OVERSIZED, tokens=0, written=6_000), "nothing new"),
            (
                failed_call(F.CALL_OVERSIZED, evidence={"bytes": 9, "max_bytes": 8}),
                "cannot lift",
            ),
        ],
    )
    def test_what_cannot_be_continued_is_split_and_says_why(
        self, call: CallState, why: str
    ) -> None:
        chosen = choose(call)
        assert chosen.action == "split"
        assert why in chosen.reasons[1]

    def test_a_plan_is_neither_continued_nor_split(self) -> None:
        for cause in (F.CALL_OVERSIZED, F.CALL_TRUNCATED, F.CONTEXT_OVERFLOW):
            assert choose(failed_call(cause, kind="plan")).action == "give_up"

    def test_a_server_that_rejects_a_continuation_has_the_call_split(self) -> None:
        call = failed_call(F.CALL_OVERSIZED, F.BACKEND_REFUSED, going_on=True)
        assert choose(call).action == "split"
        assert choose(failed_call(F.BACKEND_REFUSED)).action == "give_up"

    def test_a_prompt_that_does_not_fit_is_split_by_its_numbers(self) -> None:
        evidence: dict[str, JsonValue] = {"prompt_tokens": 9_000, "context_length": 8_192}
        call = failed_call(F.CONTEXT_OVERFLOW, tokens=0, raw=None, evidence=evidence)
        chosen = choose(call)
        assert chosen.action == "split"
        assert "9000 tokens and the context holds 8192" in chosen.reasons[-1]

    def test_the_pieces_are_as_many_as_the_whole_needs(self) -> None:
        size = continuation.measure(failed_call(F.CALL_OVERSIZED, written=20_000))
        assert size.capacity == 6_000
        assert size.pieces == 6  # 32,768 tokens at most


class TestFollowUp:
    def follow(self, call: CallState, action: ev.RecoveryAction) -> tuple[FollowUp | None, int]:
        assert call.last_failure is not None
        return follow_up(call, call.last_failure, action)

    def test_a_continuation_has_the_text_and_its_tokens(self) -> None:
        told, written = self.follow(failed_call(F.CALL_OVERSIZED), "continue")
        assert told == FollowUp(PARTIAL, continues=True)
        assert written == 6_000

    def test_a_continuation_that_loses_its_replica_goes_on_from_where_it_began(self) -> None:
        call = failed_call(F.BACKEND_STALLED, tokens=100, written=6_100, going_on=True)
        told, written = self.follow(call, "retry_elsewhere")
        assert told == FollowUp(ev.text_ref("<h1>"), continues=True)
        assert written == 6_000

    def test_one_that_is_asked_again_hears_the_problem_and_begins_anew(self) -> None:
        call = failed_call(F.OUTPUT_INVALID, written=6_000, going_on=True)
        told, written = self.follow(call, "ask_again")
        assert told == FollowUp(PARTIAL, problem="broken")
        assert written == 0

    def test_a_plan_call_is_not_told_twice(self) -> None:
        call = failed_call(F.WORKBENCH_LOST, kind="plan")
        call.follow_up = FollowUp(None, problem="broken")
        assert self.follow(call, "retry") == (None, 0)
