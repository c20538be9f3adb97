"""A console whose texts cannot steer the terminal, also when a model wrote them; its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from familiar.safe_text import safe_text


class SafeConsole(Console):
    """Rich's console. Its own control codes (colours, cursor moves) stay; those in texts go."""

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


def grid(*left: str, right: Sequence[str] = ()) -> Table:
    """A table without lines. Columns of figures, in `right`, stand at the end and are never cut."""
    table = Table(box=None, padding=(0, 1), header_style="dim", show_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table
