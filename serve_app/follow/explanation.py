"""An explanation and a comparison on a terminal: the cause first, everything else below it."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from familiar.explain.diff import Difference, RunDiff
from familiar.explain.explanation import Explanation, Figure
from serve_app.cli.console import grid

_STYLES = {"succeeded": "bold green", "failed": "bold red", "cancelled": "bold yellow"}
_LESSER = 5


def print_explanation(found: Explanation, console: Console) -> None:
    """Cause, symptom, evidence, causes ruled out, changes to make, other causes."""
    first, *others = found.causes
    console.print(
        Text.assemble(
            (first.cause.value, _STYLES.get(found.outcome, "bold cyan")), "  ", (first.says, "bold")
        )
    )
    _item(console, found.symptom, "dim")
    for line in first.contradicts:
        _item(console, line, "magenta")
    _section(console, "evidence")
    for evidence in first.evidence:
        _item(console, evidence.says + _numbers(evidence.events))
    if first.ruled_out:
        _section(console, "ruled out")
        for excluded in first.ruled_out:
            _item(console, f"{excluded.cause.value}: {excluded.how}{_numbers(excluded.events)}")
    if first.change:
        _section(console, "what to change")
        for change in first.change:
            _item(console, change, "yellow")
    if others:
        _section(console, "also seen")
        for cause in others[:_LESSER]:
            weight = f" [{cause.lost_s:.1f} s]" if cause.lost_s else ""
            _item(console, f"{cause.cause.value}: {cause.says}{weight}")


def print_difference(found: RunDiff, console: Console) -> None:
    if not found.differences:
        console.print("The two runs do not differ in anything that is compared.")
        return
    table = grid("")
    table.add_column(Text(f"a: {found.a.run_id}"), overflow="fold", ratio=1)
    table.add_column(Text(f"b: {found.b.run_id}"), overflow="fold", ratio=1)
    table.add_column("b/a", justify="right", no_wrap=True)
    section = ""
    for row in found.differences:
        if row.section != section:
            section = row.section
            table.add_row(Text(section, "bold"), "", "", "")
        table.add_row(Text(f"  {row.name}"), _said(row.a), _said(row.b), _ratio(row))
    console.print(table)
    if found.same:
        console.print(Text(f"the same: {', '.join(found.same)}", "dim"))


def _section(console: Console, name: str) -> None:
    console.print(Text(name, "bold"))


def _item(console: Console, words: str, style: str = "") -> None:
    console.print(Padding(Text(words, style), (0, 0, 0, 2)))


def _numbers(events: tuple[int, ...]) -> str:
    return "" if not events else f" (#{', #'.join(str(seq) for seq in events)})"


def _said(value: Figure | None) -> Text:
    return Text("-", "dim") if value is None else Text(str(value))


def _ratio(row: Difference) -> str:
    return "" if row.ratio is None else f"{row.ratio:.2f}"
