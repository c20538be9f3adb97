"""A run's stream as plain lines, for a pipe, a log file or a terminal without cursor control.

One line an event that a person wants to see, with the seconds since the run was submitted; now and
then one with the tokens so far, so that a long call does not look like a hang.
"""

from __future__ import annotations

from collections.abc import Callable

from familiar.event import Event
from familiar.event_text import describe
from serve_app.client.service import Message
from serve_app.follow.board import Board
from serve_app.models import StreamProgress

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
        elif isinstance(message, Event) and (said := describe(message).brief):
            self._told_at = self._clock()
            since = message.at - (board.submitted_at or message.at)
            self._write(f"{since:7.1f}s  {said}")


def _running(board: Board) -> str:
    calls = ", ".join(
        f"{call.call} {call.tokens} tokens ({call.tokens_per_s:.0f}/s)" for call in board.running()
    )
    return f"{'':8}  running: {calls or 'nothing'}"
