"""A run's stream as plain lines, for a pipe, a log file or a terminal without cursor control.

One line an event that a person wants to see, with the seconds since the run was submitted; now and
then one with the tokens so far, so that a long call does not look like a hang.
"""

from __future__ import annotations

from collections.abc import Callable

from familiar import event as e
from familiar.event import Event
from serve_app.client.service import Message
from serve_app.follow.board import Board
from serve_app.models.event import StreamProgress

PROGRESS_EVERY_S = 10.0


class Lines:
    """Writes each line with `write`. `clock` gives seconds that only grow."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._told_at = clock()

    def show(self, message: Message, board: Board) -> None:
        """Tell of `message`, which `board` has just taken in."""
        if isinstance(message, StreamProgress):
            if self._clock() - self._told_at >= PROGRESS_EVERY_S:
                self._told_at = self._clock()
                self._write(_running(board))
        elif isinstance(message, Event) and (said := _said(message)):
            self._told_at = self._clock()
            since = message.at - (board.submitted_at or message.at)
            self._write(f"{since:7.1f}s  {said}")


def _running(board: Board) -> str:
    calls = ", ".join(
        f"{call.call} {call.tokens} tokens ({call.tokens_per_s:.0f}/s)" for call in board.running()
    )
    return f"{'':8}  running: {calls or 'nothing'}"


def _said(event: Event) -> str:
    match event.body:
        case e.RunSubmitted() as b:
            files = f", {len(b.files)} files wanted" if b.files else ""
            return f"run {event.run_id} in session {b.session_id}{files}"
        case e.RunLimitsNoted():
            return "limits of the run noted"
        case e.RunCancelRequested():
            return "cancel requested"
        case e.RunEnded() as b:
            return f"run {b.outcome}: {b.reason}"
        case e.TurnStarted() as b:
            return f"turn {b.turn}"
        case e.PlanRejected() as b:
            return f"plan refused: {'; '.join(p.message for p in b.problems)}"
        case e.PlannerChosen() as b:
            return f"{b.planner} plan this turn: {'; '.join(b.reasons)}"
        case e.PlanAccepted() as b:
            calls = ", ".join(
                call.id + (f" after {'+'.join(call.depends_on)}" if call.depends_on else "")
                for call in b.calls
            )
            return f"plan by {b.planner}: {calls or 'no calls'}"
        case e.CallDispatched() as b:
            tried = f", try {b.attempt}" if b.attempt > 1 else ""
            tried += ", going on from there" if b.continues else ""
            return f"{b.call} → {b.replica} ({b.alias}{tried})"
        case e.CallAdopted() as b:
            return f"{b.call} adopted from {b.holder}"
        case e.CallSucceeded() as b:
            took = b.timing.ended_at - b.timing.started_at
            return f"{b.call} done in {took:.1f} s, {b.usage.output_tokens} tokens"
        case e.CallFailed() as b:
            return f"{b.call} failed, {b.failure.failure_class}: {b.failure.message}"
        case e.CallSkipped() as b:
            return f"{b.call} skipped, because {', '.join(b.because)} failed"
        case e.RecoveryChosen() as b:
            return f"{b.call}: {b.action.replace('_', ' ')} ({'; '.join(b.reasons)})"
        case e.BudgetReached() as b:
            end = "nearly used up" if b.soft else "used up"
            return f"budget {b.budget} {end}: {b.used:g} of {b.limit:g}"
        case e.FilePublished() as b:
            return f"{b.path} is there, {b.size} bytes"
        case e.StackCompacted() as b:
            return f"message stack compacted, {b.tokens_before} → {b.tokens_after} tokens"
        case e.SynthesisMade() as b:
            return f"{b.kind} answer {b.version} by {b.source}" + (
                "" if b.adopted else f" (not adopted: {b.reason})"
            )
