"""A console whose texts cannot steer the terminal, also when a model wrote them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

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
