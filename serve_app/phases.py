"""The steps of starting and ending, each with its wall time, told as they happen.

▸ Ray: starting a private one
✓ Ray 4.1 s
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text


class Phases:
    """Writes to `console`. `seconds` has every phase that has ended, in order."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    @contextlib.contextmanager
    def phase(self, name: str, doing: str) -> Iterator[None]:
        began = time.monotonic()
        self._write(Text.assemble(("▸ ", "cyan"), (name, "bold"), f": {doing}"))
        try:
            yield
        except BaseException:
            self._write(Text.assemble(("✗ ", "red"), f"{name} {time.monotonic() - began:.1f} s"))
            raise
        self.seconds[name] = time.monotonic() - began
        self._write(Text.assemble(("✓ ", "green"), f"{name} {self.seconds[name]:.1f} s"))

    def note(self, text: str) -> None:
        """A line of progress inside a phase."""
        self._write(Text(f"    {time.monotonic() - self._began:5.0f} s  {text}", "dim"))

    def say(self, text: str) -> None:
        self._write(Text(text))

    def summary(self) -> str:
        """All phases and their sum in one line."""
        parts = [f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items()]
        return f"{', '.join(parts)}; in all {time.monotonic() - self._began:.1f} s"

    def _write(self, text: Text) -> None:
        # In a terminal words stay whole; in a file a note stays on one line.
        self.console.print(text, soft_wrap=not self.console.is_terminal)
