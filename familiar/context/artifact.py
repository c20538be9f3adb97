"""An artifact by reference: enough to plan with and to ask for it, a few dozen tokens long.

The hash says whether two turns speak of the same text; the outline says what is in it. A
reader of the text itself asks for it by path (`needs` of a worker call).
"""

from __future__ import annotations

from dataclasses import dataclass

from familiar.context.message import Fact
from familiar.context.outline import outline
from familiar.event import TextRef

DIGITS = 12
MAX_OUTLINE_CHARS = 360


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """`size` in bytes. `maker` is the call that wrote it, empty for a file of an earlier run."""

    path: str
    sha256: str
    size: int
    outline: tuple[str, ...] = ()
    maker: str = ""

    @classmethod
    def of(cls, path: str, ref: TextRef, text: str, maker: str = "") -> ArtifactRef:
        return cls(path, ref.sha256, ref.size, outline(path, text), maker)

    @property
    def digits(self) -> str:
        return self.sha256[:DIGITS]

    @property
    def line(self) -> str:
        """Path, maker, hash and size in one line."""
        by = f" by {self.maker}" if self.maker else ""
        return f"{self.path}{by}: sha256 {self.digits}, {self.size:,} bytes"

    @property
    def described(self) -> str:
        """The line, and the outline below it."""
        if not self.outline:
            return self.line
        return f"{self.line}\n  {_joined(self.outline)}"

    @property
    def fact(self) -> Fact:
        return Fact(f"file:{self.path}", self.line)


def _joined(outline: tuple[str, ...]) -> str:
    """The entries in one line, as many as fit."""
    shown, left = list[str](), MAX_OUTLINE_CHARS
    for entry in outline:
        left -= len(entry) + 3
        if left < 0:
            return " | ".join((*shown, "…"))
        shown.append(entry)
    return " | ".join(shown)
