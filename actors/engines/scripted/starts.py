"""Counting starts in a file, so that a script can say what fails over processes that are gone."""

from __future__ import annotations

import os
from pathlib import Path


def append_to(path: str) -> int:
    """A descriptor whose writes are whole lines also beside other processes."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def count_start(path: str, replica_id: str) -> int:
    """Note one more start of the replica; how many there have been, this one included."""
    fd = append_to(path)
    os.write(fd, f"{replica_id} {os.getpid()}\n".encode())
    os.close(fd)
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return sum(line.split(" ")[0] == replica_id for line in lines)
