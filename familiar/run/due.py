"""The commands that are due in a run, and their end when a budget is used up.

Every command that becomes due goes through `do`: it becomes due once, nothing but a stop becomes
due beside the end of the run, and nothing that begins something becomes due when a budget is used
up. Then the run is closed down step by step: running work comes in, the budget's event
is recorded, a synthesis says what there is, and the run ends.
"""

from __future__ import annotations

from familiar import event as ev
from familiar.run import budget, ending
from familiar.run.command import Carry, Command, Dispatch, Publish, Record, Synthesize
from familiar.run.state import CallStatus, RunState

_END = Record(ev.RunEnded(outcome="failed", reason="")).due
_SPENDING = frozenset({CallStatus.QUEUED, CallStatus.RUNNING, CallStatus.JUDGING})


class Due:
    """The commands of one run. `state.due` holds what is due and unanswered."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._fresh: list[Command] = []

    def take(self) -> list[Command]:
        """The commands that became due since the last time, in order."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def do(self, command: Command) -> None:
        due = self._state.due
        if command.due:
            if command.due in due or _END in due:
                return
            if self._state.exhausted is not None and not self._closes(command):
                return
            due[command.due] = command
        self._fresh.append(command)

    def record(self, body: ev.Body) -> None:
        self.do(Record(body))

    def answered(self, command: Command) -> None:
        self._state.due.pop(command.due, None)

    def recorded(self, body: ev.Body) -> None:
        self.answered(Record(body))

    def clear(self) -> None:
        self._state.due.clear()

    # Budgets.

    def exhaust(self, which: ev.Budget) -> None:
        """From here on nothing begins. What is due and would begin something no longer is."""
        state = self._state
        if state.exhausted is not None:
            return
        state.exhausted = which
        for due in [due for due, command in state.due.items() if not self._closes(command)]:
            del state.due[due]
        self._fresh = [c for c in self._fresh if not c.due or c.due in state.due]

    def may_begin_a_call(self) -> bool:
        """Whether there is room for one more; where there is not, nothing begins from here on."""
        state = self._state
        if state.exhausted is None:
            for use in budget.uses(state, state.limits):
                if use.over and use.budget not in ("turns", "recoveries"):
                    self.exhaust(use.budget)
                    break
        return state.exhausted is None

    def weigh_budgets(self) -> None:
        """Tell of budgets that are nearly used up, and end the run when one is."""
        state = self._state
        for use in budget.uses(state, state.limits):
            if state.exhausted is not None:
                break
            if use.soft_over(self._state.limits.soft) and use.budget not in state.warned:
                self.record(use.reached(soft=True))
            spends = use.over and use.budget not in budget.LETS_FINISH
            if spends and any(call.status in _SPENDING for call in state.calls.values()):
                self.exhaust(use.budget)
        if state.exhausted is not None:
            self._close_down(state.exhausted)

    def _closes(self, command: Command) -> bool:
        """Whether `command` may be due when a budget is used up."""
        match command:
            case Record():
                return isinstance(command.body, ev.RunEnded | ev.BudgetReached)
            case Synthesize():
                return self._state.spent is not None
            case Dispatch() | Carry():
                return self._state.exhausted in budget.LETS_FINISH
            case _:
                return isinstance(command, Publish)

    def _close_down(self, exhausted: ev.Budget) -> None:
        """One step towards the end, as soon as nothing is waited for any more."""
        state = self._state
        if any(isinstance(c, Dispatch | Carry | Publish) for c in state.due.values()):
            return
        if state.spent is None:
            for use in budget.uses(state, state.limits):
                if use.budget == exhausted:
                    self.record(use.reached(soft=False))
        elif self._state.limits.synthesis and not state.summed_up:
            met = bool(state.wanted) and not state.missing
            turn = state.turns[-1].number if state.turns else 0
            self.do(Synthesize(turn, "final" if met else "partial"))
        else:
            self.record(ending.out_of_budget(state, state.spent))
