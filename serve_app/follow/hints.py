"""How a person asks again: the program, and the options that find the same source."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


def program() -> str:
    """`familiar`, or its path when it stands in a virtual environment that is not active."""
    if shutil.which("familiar"):
        return "familiar"
    beside = Path(sys.executable).with_name("familiar")
    if not beside.exists():
        return f"{sys.executable} -m serve_app.cli"
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)


@dataclass(frozen=True, slots=True)
class Hints:
    """`options` begins with a space when there are any; `where` is the source of the answer."""

    where: str
    options: str = ""

    def command(self, words: str) -> str:
        return f"{program()} {words}{self.options}"
