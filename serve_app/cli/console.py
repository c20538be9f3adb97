"""A console whose texts cannot steer the terminal, also when a model wrote them; its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

from familiar.safe_text import safe_text

_USUAL_WIDTH = 80
_WIDEST = 10_000


class SafeConsole(Console):
    """Rich's console. Its own control codes (colours, cursor moves) stay; those in texts go."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.width < 1:  # COLUMNS=0 of some shells and runners
            self.width = _USUAL_WIDTH
        elif self.width > _WIDEST:
            self.width = _WIDEST

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(safe_text(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Leave the end to the command, which knows what has to be ended with it."""
        raise BrokenPipeError


def least_width(console: Console, table: Table) -> int:
    """The columns that `table` takes when nothing in it is cut."""
    return Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum


def print_whole(console: Console, table: Table) -> None:
    """Print `table` with nothing cut; a narrower terminal wraps its lines."""
    width = console.width
    console.width = max(width, least_width(console, table))
    console.print(table)
    console.width = width


def grid(*left: str, right: Sequence[str] = ()) -> Table:
    """A table without lines. Columns of figures, in `right`, stand at the end and are never cut."""
    table = Table(box=None, padding=(0, 1), header_style="dim", show_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table
