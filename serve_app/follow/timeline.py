"""When each attempt of a run waited, read its prompt, wrote and ended, as a bar chart of text.

One line per attempt on one common axis: `·` waiting in the queue, `░` on a replica before the first
token, `█` writing tokens, `✗` the end of one that failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.store.rows import AttemptSummary, CallSummary
from serve_app.cli.console import grid, least_width, print_whole

LEGEND = "· queued  ░ started, no token yet  █ writing  ✗ failed"
TIMES = ("queued", "started", "1st token", "ended")
_LEAST_BAR = 12
Moments = tuple[float | None, float | None, float | None, float | None]
"""Seconds on the axis for each of `TIMES`; None where it never came."""


def print_timeline(calls: Sequence[CallSummary], console: Console, zero: float) -> None:
    """One line per attempt, in the order in which they were queued, with its seconds since `zero`,
    the submission, and its bar where the terminal has room for one."""
    rows = [(moments(attempt, zero), attempt, call) for call in calls for attempt in call.attempts]
    if not rows:
        return
    rows.sort(key=lambda row: (row[0][0] is None, row[0][0] or 0.0))
    span = max(next((at for at in reversed(times) if at), 0.0) for times, _, _ in rows)
    room = console.width - least_width(console, _table(rows, span, 0)) - 2
    room = room if room >= max(_LEAST_BAR, len(_axis(span))) else 0
    console.print()
    legend = f"(seconds; {LEGEND})" if room else "(seconds)"
    console.print(Text("calls", "bold"), Text(legend, "dim"))
    print_whole(console, _table(rows, span, room))


def _table(
    rows: Sequence[tuple[Moments, AttemptSummary, CallSummary]], span: float, room: int
) -> Table:
    """The attempts and their times, and with `room` columns left, their bars."""
    scale = (room - 1) / span if span else 0.0
    table = grid("call", "replica", right=(*TIMES, "tokens"))
    if room:
        table.add_column(_axis(span), no_wrap=True, overflow="crop")
    for times, attempt, call in rows:
        style = "red" if attempt.failure_class else ""
        drawn = bar(times, scale, fails=attempt.failure_class is not None) if room else ""
        table.add_row(
            Text(attempt_name(call, attempt), style),
            attempt.replica or "",
            *seconds(times),
            str(attempt.output_tokens or ""),
            *((Text(drawn, style or "cyan"),) if room else ()),
        )
    return table


def _axis(span: float) -> str:
    return f"0 to {span:.1f} s"


def attempt_name(call: CallSummary, attempt: AttemptSummary) -> str:
    return call.call_id if attempt.attempt == 1 else f"{call.call_id}/{attempt.attempt}"


def moments(attempt: AttemptSummary, zero: float) -> Moments:
    def since(at: float | None) -> float | None:
        return None if at is None else max(at - zero, 0.0)

    return (
        since(attempt.queued_at),
        since(attempt.started_at),
        since(attempt.first_token_at),
        since(attempt.ended_at),
    )


def seconds(times: Moments) -> list[str]:
    return ["" if at is None else f"{at:.2f}" for at in times]


def bar(times: Moments, scale: float, *, fails: bool) -> str:
    """An attempt on an axis of `scale` characters a second."""
    _, started, first_token, ended = times
    marks = [at for at in times[:3] if at is not None]
    if not marks:
        return ""
    end = ended if ended is not None else max(marks)
    cells = [" "] * (round(end * scale) + 1)
    for number in range(round(marks[0] * scale), len(cells)):
        at = (number + 0.5) / scale if scale else marks[0]
        if first_token is not None and at >= first_token:
            cells[number] = "█"
        elif started is not None and at >= started:
            cells[number] = "░"
        else:
            cells[number] = "·"
    if fails:
        cells[-1] = "✗"
    elif first_token is not None:
        cells[-1] = "█"
    return "".join(cells)
