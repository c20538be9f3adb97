"""The content of a goal: its size, the files that it names, and its words about each.

A run that named files has succeeded only when every one of them is there; `goal_files` reads them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from familiar.errors import InputError
from familiar.goal_files import NamedPath, named_paths

MAX_FILES = 200


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal. `files` are in the order in which the text first names them; `taken` says which
    path each name in the text was taken for, and why a name was taken for none."""

    text: str
    files: tuple[str, ...]
    taken: tuple[NamedPath, ...] = ()

    @property
    def pages(self) -> tuple[str, ...]:
        return tuple(name for name in self.files if name.endswith((".html", ".htm")))

    def about(self, file: str) -> str:
        """The paragraphs and list items that name `file`."""
        name = re.compile(rf"(?<![\w./-]){re.escape(file)}(?![\w/-])")
        return "\n".join(
            block
            for block in _blocks(unicodedata.normalize("NFC", self.text))
            if name.search(block)
        )


def read_goal(text: str, *, max_bytes: int, files: tuple[str, ...] | None = None) -> Goal:
    """Check a goal and find its files. Raises `InputError` for an empty or oversized one."""
    if not text.strip():
        raise InputError(
            "The goal is empty.", field="goal", remedy="Say in words what should be made."
        )
    size = len(text.encode("utf-8", "replace"))
    if size > max_bytes:
        raise InputError(
            f"The goal has {size} bytes and the limit is {max_bytes}.",
            field="goal",
            remedy="Shorten it, put the material into files of the workspace, or raise "
            "api.max_goal_bytes.",
        )
    taken = () if files is not None else named_paths(text)
    named = dict.fromkeys(name.path for name in taken if name.problem is None)
    found = files if files is not None else tuple(named)
    if len(found) > MAX_FILES:
        raise InputError(
            f"The goal names {len(found)} files and the limit is {MAX_FILES}.",
            field="goal",
            remedy="Split it into several runs of one session.",
        )
    return Goal(text=text, files=found, taken=taken)


def _blocks(text: str) -> list[str]:
    """Cut at blank lines and before list items, headings and table rows."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        bare = line.lstrip()
        if not bare:
            blocks.append([])
            continue
        if bare.startswith(("- ", "* ", "#", "|")) or bare[:2].rstrip(".").isdigit():
            blocks.append([])
        blocks[-1].append(line)
    return ["\n".join(block) for block in blocks if block]
