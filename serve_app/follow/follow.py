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
from serve_app.cli.output import print_json
from serve_app.client.service import History, Message
from serve_app.follow.board import Board
from serve_app.follow.lines import Lines
from serve_app.follow.live import LiveBoard
from serve_app.models import RecordedEvent, StreamEnd, StreamProgress

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
