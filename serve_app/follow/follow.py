"""Follow a run until it ends, in the way that fits where the output goes.

On a terminal that is the live board; elsewhere plain lines; for a machine JSON lines. All three are
fed from one stream, so they tell the same story.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from pydantic import JsonValue
from rich.console import Console

from familiar.event import Event
from familiar.event_text import describe
from serve_app.cli.output import print_json
from serve_app.client.service import History, Message
from serve_app.follow.board import Board
from serve_app.follow.live import LiveBoard
from serve_app.models import RecordedEvent, StreamEnd, StreamProgress

PROGRESS_EVERY_S = 10.0

Show = Callable[[Message], None]


def follow(history: History, run_id: str, console: Console, *, as_json: bool = False) -> StreamEnd:
    """Show the run until it ends; returns its outcome. Raises `ClusterError` when no service
    answers any more, and passes an interrupt on."""
    with _shown(run_id, console, as_json) as show:
        for message in history.stream(run_id):
            show(message)
            if isinstance(message, StreamEnd):
                return message
    raise AssertionError("a stream ends with its end")


@contextlib.contextmanager
def _shown(run_id: str, console: Console, as_json: bool) -> Iterator[Show]:
    board = Board(run_id)
    if as_json:
        yield write_json_line
    elif console.is_terminal and not console.is_dumb_terminal:
        with LiveBoard(board, console) as live:

            def redraw(message: Message) -> None:
                with live.lock:
                    board.apply(message)

            yield redraw
    else:
        lines = Lines(lambda line: console.print(line, soft_wrap=True), time.monotonic)

        def tell(message: Message) -> None:
            board.apply(message)
            lines.show(message, board)

        yield tell


def write_json_line(message: Message) -> None:
    """One message as one line of JSON on stdout; `kind` says which it is."""
    print_json(json_of(message), line=True)


def json_of(message: Message) -> dict[str, JsonValue]:
    """`kind` is event, progress or end; the other keys are those of the API."""
    if isinstance(message, Event):
        return {"kind": "event", **RecordedEvent.of(message).model_dump(mode="json")}
    kind = "progress" if isinstance(message, StreamProgress) else "end"
    return {"kind": kind, **message.model_dump(mode="json")}


class Lines:
    """The stream as plain lines, for a pipe, a log file or a terminal without cursor control.

    One line an event that a person wants to see, with the seconds since the run was submitted; now
    and then one with the tokens so far, so that a long call does not look like a hang.
    Writes each line with `write`. `clock` gives seconds that only grow."""

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
