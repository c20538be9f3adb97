"""When each attempt of a run waited, read its prompt, wrote and ended, as a bar chart of text.

One line per attempt on one common axis: `·` waiting in the queue, `░` on a replica before the first
token, `█` writing tokens, `✗` the end of one that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.store.rows import AttemptSummary, CallSummary

LEGEND = "· queued  ░ started, no token yet  █ writing  ✗ failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt on the axis. Times are seconds on the axis; None where it never came."""

    name: str
    alias: str
    replica: str
    queued: float | None
    started: float | None
    first_token: float | None
    ended: float | None
    tokens: int
    failure_class: str | None

    def bar(self, scale: float) -> str:
        marks = [at for at in (self.queued, self.started, self.first_token) if at is not None]
        if not marks:
            return ""
        end = self.ended if self.ended is not None else max(marks)
        begin = marks[0]
        cells = [" "] * (round(end * scale) + 1)
        for number in range(round(begin * scale), len(cells)):
            at = (number + 0.5) / scale if scale else begin
            if self.first_token is not None and at >= self.first_token:
                cells[number] = "█"
            elif self.started is not None and at >= self.started:
                cells[number] = "░"
            else:
                cells[number] = "·"
        if self.failure_class is not None:
            cells[-1] = "✗"
        elif self.first_token is not None:
            cells[-1] = "█"
        return "".join(cells)


def print_timeline(rows: list[Row], console: Console) -> None:
    """One line per attempt, with its seconds since the submission and its bar."""
    if not rows:
        return
    span = max((row.ended or row.first_token or row.started or row.queued or 0) for row in rows)
    width = max(console.width - 76, 12)
    scale = (width - 1) / span if span else 0.0
    table = Table(box=None, padding=(0, 1), header_style="dim", show_edge=False)
    table.add_column("call", no_wrap=True)
    table.add_column("replica", no_wrap=True)
    for name in ("queued", "started", "1st token", "ended", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"0 to {span:.1f} s", no_wrap=True, overflow="crop")
    for row in rows:
        style = "red" if row.failure_class else ""
        table.add_row(
            Text(row.name, style),
            row.replica,
            *(_at(at) for at in (row.queued, row.started, row.first_token, row.ended)),
            str(row.tokens or ""),
            Text(row.bar(scale), style or "cyan"),
        )
    console.print()
    console.print(Text("calls", "bold"), Text(f"(seconds; {LEGEND})", "dim"))
    console.print(table)


def timeline(calls: Sequence[CallSummary], zero: float) -> list[Row]:
    """The attempts in the order in which they were queued; `zero` is when the axis begins."""
    rows = [_row(call, attempt, zero) for call in calls for attempt in call.attempts]
    return sorted(rows, key=lambda row: (row.queued is None, row.queued or 0.0))


def _row(call: CallSummary, attempt: AttemptSummary, zero: float) -> Row:
    def since(at: float | None) -> float | None:
        return None if at is None else max(at - zero, 0.0)

    return Row(
        name=call.call_id if attempt.attempt == 1 else f"{call.call_id}/{attempt.attempt}",
        alias=attempt.alias or "",
        replica=attempt.replica or "",
        queued=since(attempt.queued_at),
        started=since(attempt.started_at),
        first_token=since(attempt.first_token_at),
        ended=since(attempt.ended_at),
        tokens=attempt.output_tokens,
        failure_class=attempt.failure_class,
    )


def _at(at: float | None) -> str:
    return "" if at is None else f"{at:.2f}"
