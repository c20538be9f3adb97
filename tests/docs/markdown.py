"""The commands of a page: the lines of its `sh` blocks, and commands inside of sentences."""

from __future__ import annotations

import re
from pathlib import Path

PROGRAMS = (
    "make", "familiar", "kubectl", "docker", "ray", "pip", "python", "curl", "scripts", "bench",
    "examples", "pytest", "git",
)  # fmt: skip
INLINE = re.compile(rf"`((?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)})(?:[ /][^`]+)?)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str = "sh") -> list[str]:
    """The fenced blocks of one language, in order."""
    return [
        text for name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name == language
    ]


def commands(text: str) -> list[str]:
    """The commands of a block: a line, with the lines that continue it or an open quote of it."""
    found: list[str] = []
    for line in text.splitlines():
        if found and (found[-1].endswith("\\") or found[-1].count("'") % 2):
            found[-1] += f"\n{line}"
        elif line.strip():
            found.append(line)
    return found


def in_sentences(page: Path) -> list[str]:
    """Commands between backticks, outside of blocks; a line break inside is a space."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [re.sub(r"\s+", " ", command) for command in INLINE.findall(prose)]
