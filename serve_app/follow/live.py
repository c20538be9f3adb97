"""A run's stream as a picture that stays in place: turn, calls with their states, tokens, replicas.

Rich redraws it a few times a second from its own thread, so the clock moves between messages; a
lock keeps it from drawing a board that is being changed. Calls are shown in the order of the plan,
indented by how deep they stand in the DAG, with what they wait for beside them; when there are
more than the screen has lines, those that have ended well are left out first.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from serve_app.cli.console import grid
from serve_app.follow.board import RUNNING, Board, CallState

FRAMES_PER_S = 4
_DEEPEST = 3  # levels of indentation, so that a long chain leaves room for the figures
_ROOM = 9
_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "succeeded": ("✓", "green"),
    "published": ("✓", "green"),
    "retrying": ("↻", "yellow"),
    "failed": ("✗", "bold red"),
    "skipped": ("–", "dim red"),
}
_DONE = ("succeeded", "published")


class LiveBoard:
    """Draws `board` while it is entered. Change the board under `lock` only."""

    def __init__(self, board: Board, console: Console) -> None:
        self.lock = threading.Lock()
        self._board = board
        self._console = console
        self._live = Live(
            console=console,
            get_renderable=self._locked,
            refresh_per_second=FRAMES_PER_S,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def _locked(self) -> RenderableType:
        with self.lock:
            return draw(self._board, now=time.time(), height=self._console.height)


def draw(board: Board, *, now: float, height: int) -> RenderableType:
    """The picture of `board` at the time `now` on a screen of `height` lines."""
    return Group(_head(board, now), _calls(board, now, max(height - _ROOM, 3)), _foot(board))


def _head(board: Board, now: float) -> Text:
    text = Text()
    text.append(board.run_id, "bold")
    if board.submitted_at is not None:
        text.append(f"  {clock((board.ended_at or now) - board.submitted_at)}", "cyan")
    if board.turns:
        turn = board.turns[max(board.turns)]
        text.append(f"  turn {turn.turn}")
        if turn.planner:
            text.append(f", planned by {'the model' if turn.planner == 'model' else 'rules'}")
        elif turn.rejected:
            text.append(f", {turn.rejected} plan(s) rejected, planning again", "yellow")
        else:
            text.append(", planning", "dim")
    done = sum(call.state in _DONE for call in board.calls.values())
    text.append(f"  {done}/{len(board.calls)} calls  {board.tokens} tokens")
    if board.wanted:
        made = sum(path in board.files for path in board.wanted)
        text.append(f"  {made}/{len(board.wanted)} files")
    if board.cancelling:
        text.append("  cancelling", "yellow")
    return text


def _calls(board: Board, now: float, room: int) -> Table:
    table = grid("", "call", "alias", "replica", right=("time", "tokens", "tok/s"))
    # The only column that gives way: on a narrow screen the figures stay whole.
    table.add_column(_one_line(Text("file, or calls it waits for")), ratio=1)
    shown = list(board.calls.values())
    hidden = 0
    for call in list(shown):
        if len(shown) <= room:
            break
        if call.state in _DONE:
            shown.remove(call)
            hidden += 1
    for call in shown[:room]:
        mark, style = _MARKS[call.state]
        table.add_row(
            Text(mark, style),
            Text(
                "  " * min(call.depth, _DEEPEST) + call.call,
                style if call.state == RUNNING else "",
            ),
            call.alias,
            call.replica,
            _time(call, now),
            str(call.tokens or ""),
            f"{_rate(call):.1f}" if _rate(call) else "",
            _one_line(_note(call, board)),
        )
    left_out = hidden + max(len(shown) - room, 0)
    if left_out:
        table.add_row("", Text(f"and {left_out} more", "dim"))
    return table


def _foot(board: Board) -> Text:
    parts = [
        f"{replica}: {len(calls)} running, {sum(call.tokens_per_s for call in calls):.1f} tok/s"
        for replica, calls in board.by_replica().items()
    ]
    return Text("   ".join(parts), "dim")


def _time(call: CallState, now: float) -> str:
    begin = call.started_at if call.ended_at is not None else call.dispatched_at
    begin = begin if begin is not None else call.dispatched_at
    return "" if begin is None else f"{max((call.ended_at or now) - begin, 0):.1f}s"


def _rate(call: CallState) -> float:
    if call.state == RUNNING:
        return call.tokens_per_s
    if call.started_at is None or call.ended_at is None or call.ended_at <= call.started_at:
        return 0.0
    return call.tokens / (call.ended_at - call.started_at)


def _note(call: CallState, board: Board) -> Text:
    if call.state in ("failed", "skipped", "retrying"):
        return Text(call.note, "red" if call.state == "failed" else "dim")
    waits = [
        name
        for name in call.depends_on
        if name in board.calls and board.calls[name].state not in _DONE
    ]
    if call.state == "waiting" and waits:
        return Text(f"after {', '.join(waits)}", "dim")
    return Text(call.output_file or ("" if call.kind == "worker" else call.kind))


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def clock(seconds: float) -> str:
    """Minutes and seconds, e.g. 2:05."""
    whole = max(int(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"
