"""The run's state machine: fold one event, answer with the commands that it makes due.

The same code drives a live run, recovers one after a crash and replays one in a test. `apply`
changes the state and returns what became due; `state.due` always holds everything that is due and
unanswered, so recovery is: fold the history, then perform `state.due`. The machine chooses and
never does: waiting, routing, model calls and files belong to the orchestrator actor.

Dataflow: a call is queued the moment its own last dependency is done. There are no waves and no
barriers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from familiar import event as ev
from familiar.call import CallKind, Usage
from familiar.errors import FailureClass
from familiar.failure import FAILURES
from familiar.limits import RunLimits
from familiar.run import budget, ending, transition
from familiar.run import command as cmd
from familiar.run.due import Due
from familiar.run.recovery import choose_recovery, follow_up
from familiar.run.state import (
    CallState,
    CallStatus,
    PublishedFile,
    RunState,
    TurnState,
    plan_call_id,
    synthesis_call_id,
)


class RunMachine:
    """One run. Its limits come with its first event."""

    def __init__(self, run_id: str) -> None:
        self.state = RunState(run_id=run_id)
        self._due = Due(self.state)

    @property
    def limits(self) -> RunLimits:
        return self.state.limits

    def takes(self, body: ev.Body) -> bool:
        """Whether `body` would change the state: a prepared decision may be out of date by now."""
        return not transition.hindrance(self.state, body)

    def apply(self, event: ev.Event) -> list[cmd.Command]:
        """Fold `event` and return the commands that it makes due, in order.

        Raises `ValueError` for an event out of sequence (a history is gap-free) and
        `InvalidTransition` for a decision that the state cannot take; the state is unchanged then.
        """
        state, body = self.state, event.body
        if event.seq != state.seq + 1:
            raise ValueError(f"run {state.run_id}: event {event.seq} after {state.seq}")
        hindrance = transition.hindrance(state, body)
        if hindrance and not isinstance(body, transition.Fact):
            raise transition.invalid(state, event.seq, body, hindrance)
        state.seq = event.seq
        if hindrance:
            state.late_facts += 1
            return []
        if isinstance(body, ev.RunSubmitted):
            state.submitted_at = event.at
        elif isinstance(body, transition.CallBody):
            if isinstance(body, ev.RecoveryChosen) and body.wait_s:
                state.calls[body.call].ready_at = event.at + body.wait_s
            transition.noted(state.calls[body.call], event.seq, body)
        _HANDLERS[type(body)](self, body)
        if state.ended is None:
            self._due.weigh_budgets()
        return self._due.take()

    def wall_reached(self, used_s: float, *, soft: bool) -> ev.BudgetReached | None:
        """The event to record `used_s` seconds after the submission, as the machine has no clock;
        None when it is recorded already."""
        if self.state.exhausted is not None or (soft and "wall_s" in self.state.warned):
            return None
        return budget.Use("wall_s", used_s, self.limits.wall_s).reached(soft=soft)

    # The run.

    def _on_submitted(self, body: ev.RunSubmitted) -> None:
        state = self.state
        assert body.limits is not None
        state.limits = body.limits
        state.session_id, state.goal = body.session_id, body.goal
        state.workspace, state.wanted = body.workspace, body.files
        state.stack = body.stack
        state.inherited = {file.path: file.text for file in body.inherited}
        self._due.record(ev.TurnStarted(turn=1))

    def _on_cancel_requested(self, body: ev.RunCancelRequested) -> None:
        self._due.record(ending.cancelled(body.reason))

    def _on_ended(self, body: ev.RunEnded) -> None:
        for call in self.state.running():
            self._due.do(cmd.Stop(call.id, call.attempt, call.replica or ""))
        self.state.ended = body
        self._due.clear()

    # Budgets.

    def _on_budget_reached(self, body: ev.BudgetReached) -> None:
        self._due.recorded(body)
        if body.soft:
            self.state.warned[body.budget] = body
        elif self.state.spent is None:
            self._due.exhaust(body.budget)
            self.state.spent = body

    # Turns and plans.

    def _on_turn_started(self, body: ev.TurnStarted) -> None:
        self._due.recorded(body)
        self.state.turns.append(TurnState(number=body.turn))
        if self.limits.plan_tries == 0:
            self._choose_rules(body.turn, "orchestrator.plan_tries is 0")
            return
        self._add_call(
            ev.PlannedCall(
                id=plan_call_id(body.turn), alias=self.limits.orchestrator_alias, prompt=""
            ),
            "plan",
        )

    def _on_plan_rejected(self, body: ev.PlanRejected) -> None:
        call = self.state.calls[plan_call_id(body.turn)]
        self._due.answered(cmd.JudgePlan(call.id, body.attempt, body.turn))
        turn = self.state.turn
        turn.rejected += 1
        turn.problems = body.problems
        self.state.doubted.update(body.doubted)
        if body.fingerprint is not None:
            self.state.rejected_plans.append(body.fingerprint)
        call.status = CallStatus.WAITING
        if turn.rejected < self.limits.plan_tries:
            self._retry(call)
            return
        call.status = CallStatus.FAILED
        codes = ", ".join(sorted({problem.code for problem in body.problems}))
        self._without_model_plan(
            f"{turn.rejected} plans of the model were rejected, the last for {codes}",
            ending.rejection_class(self.state, body.problems),
        )

    def _without_model_plan(self, reason: str, failure: FailureClass) -> None:
        turn = self.state.turn.number
        if self.limits.rules_planner:
            self._choose_rules(turn, reason)
        else:
            self._due.record(ending.failure(f"turn {turn} has no plan: {reason}", failure))

    def _choose_rules(self, turn: int, reason: str) -> None:
        self._due.record(ev.PlannerChosen(turn=turn, planner="rules", reasons=(reason,)))

    def _on_planner_chosen(self, body: ev.PlannerChosen) -> None:
        self._due.recorded(body)
        self._due.do(cmd.PlanByRules(body.turn))

    def _on_plan_accepted(self, body: ev.PlanAccepted) -> None:
        state, turn = self.state, self.state.turn
        plan_call = state.calls.get(plan_call_id(body.turn))
        if plan_call is not None:
            self._due.answered(cmd.JudgePlan(plan_call.id, plan_call.attempt, body.turn))
            if body.planner == "model":
                plan_call.status = CallStatus.DONE
        self._due.answered(cmd.PlanByRules(body.turn))
        turn.planned(body)
        for planned in body.calls:
            self._add_call(planned, "worker", queue=False)
        for planned in body.calls:
            call = state.calls[planned.id]
            if call.status is CallStatus.WAITING:
                self._queue_or_skip(call)
        if not body.calls:
            self._turn_over()

    # Calls.

    def _add_call(self, planned: ev.PlannedCall, kind: CallKind, *, queue: bool = True) -> None:
        state = self.state
        call = CallState(planned=planned, kind=kind, turn=state.turn.number)
        for dependency in planned.depends_on:
            state.dependents.setdefault(dependency, []).append(planned.id)
            known = state.calls.get(dependency)
            if known is None or known.status is not CallStatus.DONE:
                call.blocked_on += 1
        state.calls[planned.id] = call
        if queue:
            self._queue(call)

    def _queue_or_skip(self, call: CallState) -> None:
        """Queue a call that waits for nothing; skip one that waits for a call that has failed."""
        lost = [
            name
            for name in call.planned.depends_on
            if self.state.calls[name].status in (CallStatus.FAILED, CallStatus.SKIPPED)
        ]
        if lost:
            self._due.record(ev.CallSkipped(call=call.id, because=tuple(lost)))
        elif call.blocked_on == 0:
            self._queue(call)

    def _queue(self, call: CallState) -> None:
        if self._due.may_begin_a_call():
            self.state.model_calls += 1
            call.status = CallStatus.QUEUED
            self._due.do(cmd.Dispatch(call.id, call.attempt, call.ready_at))

    def _retry(self, call: CallState) -> None:
        call.attempt += 1
        self._queue(call)

    def _on_dispatched(self, body: ev.CallDispatched) -> None:
        call = self.state.calls[body.call]
        self._due.answered(cmd.Dispatch(call.id, body.attempt))
        call.dispatched(body)
        self._due.do(cmd.Carry(call.id, body.attempt))

    def _on_noted(self, body: ev.CallAdopted | ev.StackCompacted | ev.RunLimitsNoted) -> None:
        """A note for the reader of the history; the state does not change."""

    def _on_succeeded(self, body: ev.CallSucceeded) -> None:
        call = self.state.calls[body.call]
        self._due.answered(cmd.Carry(call.id, body.attempt))
        self._spend(call, body.usage)
        call.raw, call.text, call.finish_reason = body.raw, body.text, body.finish_reason
        if call.kind == "plan":
            call.status = CallStatus.JUDGING
            self._due.do(cmd.JudgePlan(call.id, body.attempt, call.turn))
        elif call.kind == "synthesis":
            call.status = CallStatus.DONE
            self._synthesize(call)
        elif call.planned.output_file is not None:
            call.status = CallStatus.PUBLISHING
            self._due.do(cmd.Publish(call.id, body.attempt))
        else:
            self._done(call)

    def _on_published(self, body: ev.FilePublished) -> None:
        call = self.state.calls[body.call]
        self._due.answered(cmd.Publish(call.id, body.attempt))
        text = call.text or ev.TextRef(sha256=body.sha256, size=body.size)
        self.state.files[body.path] = PublishedFile(call.id, text, body.commit)
        self._done(call)

    def _done(self, call: CallState) -> None:
        call.status = CallStatus.DONE
        for name in self.state.dependents.get(call.id, ()):
            waiting = self.state.calls[name]
            waiting.blocked_on -= 1
            if waiting.blocked_on == 0 and waiting.status is CallStatus.WAITING:
                self._queue(waiting)
        self._closed(call)

    def _on_failed(self, body: ev.CallFailed) -> None:
        call = self.state.calls[body.call]
        for command in (cmd.Carry, cmd.Publish, cmd.Dispatch):
            self._due.answered(command(call.id, body.attempt))
        if call.status is CallStatus.QUEUED:
            self.state.model_calls -= 1  # it never came to a model
        call.status = CallStatus.RECOVERING
        self._spend(call, body.usage)
        call.failures.append(body.failure.failure_class)
        call.last_failure = body
        self._due.record(choose_recovery(call, self.limits, self.state.run_id))

    def _spend(self, call: CallState, usage: Usage) -> None:
        state = self.state
        state.prompt_tokens += usage.prompt_tokens
        state.output_tokens += usage.output_tokens
        state.money += budget.cost(usage, call.pool, self.limits)
        call.written_tokens += usage.output_tokens

    def _on_recovery_chosen(self, body: ev.RecoveryChosen) -> None:
        self._due.recorded(body)
        call = self.state.calls[body.call]
        if body.avoid_replica is not None:
            call.avoid.add(body.avoid_replica)
        call.status = CallStatus.WAITING
        if body.action not in ("give_up", "split"):
            self._recover(call, body.action)
            return
        call.status = CallStatus.FAILED
        if body.action == "split":
            call.advice = body.reasons[-1]
        failure = call.failures[-1]
        if call.kind == "plan":
            self._without_model_plan(f"the plan call failed: {failure}", failure)
        elif call.kind == "synthesis":
            self._synthesize(call)
        else:
            self._lost(call)

    def _recover(self, call: CallState, action: ev.RecoveryAction) -> None:
        """Start the next attempt: a continuation, with the problem, or unchanged."""
        state, failed = self.state, call.last_failure
        assert failed is not None
        if FAILURES[failed.failure.failure_class].counted:
            if state.recoveries >= self.limits.recoveries:
                self._due.exhaust("recoveries")
                return
            state.recoveries += 1
        call.follow_up, call.written_tokens = follow_up(call, failed, action)
        self._retry(call)

    def _on_skipped(self, body: ev.CallSkipped) -> None:
        self._due.recorded(body)
        call = self.state.calls[body.call]
        call.status = CallStatus.SKIPPED
        self._lost(call)

    def _lost(self, call: CallState) -> None:
        self.state.turn.failed.append(call.id)
        for name in self.state.dependents.get(call.id, ()):
            if self.state.calls[name].status is CallStatus.WAITING:
                self._due.record(ev.CallSkipped(call=name, because=(call.id,)))
        self._closed(call)

    def _closed(self, call: CallState) -> None:
        turn = self.state.turn
        if call.status is CallStatus.DONE:
            turn.done += 1
        turn.open_calls -= 1
        if turn.open_calls == 0:
            self._turn_over()

    # The end of a turn, and of the run.

    def _turn_over(self) -> None:
        self.state.turns_over += 1
        follows = ending.after_turn(self.state, self.limits)
        if follows == "turns":
            self._due.exhaust("turns")
        elif follows == "goal met":
            if self.limits.synthesis:
                self._ask_for_synthesis("final")
            else:
                self._due.record(ending.success(self.state))
        elif isinstance(follows, ev.RunEnded) or not self._wants_partial():
            self._due.record(follows)
        elif self.limits.partial_synthesis == "model":
            self._ask_for_synthesis("partial")
        else:
            self._due.do(cmd.Synthesize(self.state.turn.number, "partial"))

    def _wants_partial(self) -> bool:
        return self.limits.synthesis and self.limits.partial_synthesis != "none"

    def _ask_for_synthesis(self, kind: ev.SynthesisKind) -> None:
        call_id = synthesis_call_id(self.state.turn.number, kind)
        alias = self.limits.orchestrator_alias
        self._add_call(ev.PlannedCall(id=call_id, alias=alias, prompt=""), "synthesis")

    def _synthesize(self, call: CallState) -> None:
        final = call.id == synthesis_call_id(call.turn)
        self._due.do(cmd.Synthesize(call.turn, "final" if final else "partial", call.id))

    def _on_synthesis(self, body: ev.SynthesisMade) -> None:
        state = self.state
        state.syntheses.append(body)
        if not body.adopted:
            return
        for command in [c for c in state.due.values() if isinstance(c, cmd.Synthesize)]:
            if (command.turn, command.kind) == (body.turn, body.kind):
                self._due.answered(command)
        if state.exhausted is not None:
            state.summed_up = state.spent is not None
        elif body.kind == "final":
            self._due.record(ending.success(state))
        else:
            self._due.record(ev.TurnStarted(turn=body.turn + 1))


_HANDLERS: Mapping[type, Callable[[RunMachine, Any], None]] = {
    ev.RunSubmitted: RunMachine._on_submitted,
    ev.RunLimitsNoted: RunMachine._on_noted,
    ev.RunCancelRequested: RunMachine._on_cancel_requested,
    ev.RunEnded: RunMachine._on_ended,
    ev.TurnStarted: RunMachine._on_turn_started,
    ev.PlanAccepted: RunMachine._on_plan_accepted,
    ev.PlanRejected: RunMachine._on_plan_rejected,
    ev.PlannerChosen: RunMachine._on_planner_chosen,
    ev.CallDispatched: RunMachine._on_dispatched,
    ev.CallAdopted: RunMachine._on_noted,
    ev.CallSucceeded: RunMachine._on_succeeded,
    ev.CallFailed: RunMachine._on_failed,
    ev.CallSkipped: RunMachine._on_skipped,
    ev.RecoveryChosen: RunMachine._on_recovery_chosen,
    ev.BudgetReached: RunMachine._on_budget_reached,
    ev.FilePublished: RunMachine._on_published,
    ev.StackCompacted: RunMachine._on_noted,
    ev.SynthesisMade: RunMachine._on_synthesis,
}
