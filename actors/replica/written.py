"""The text of running attempts as it was polled last, for live views and for partials.

A poll is one request a replica. It names the attempts whose text is wanted and from which character
on: those of a live view, at most once a second, and those older than `LONG_S` every
`LONG_S` seconds. When the replica dies, the text polled last is the partial answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.replica.table import AttemptProgress
from familiar.call import CallKey

LOOK_S = 1.0
LONG_S = 5.0


@dataclass(slots=True)
class _Running:
    alias: str
    since: float
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    progress: AttemptProgress = field(default_factory=lambda: AttemptProgress(0, 0.0, 0.0))


class Written:
    """The attempts that the orchestrator waits for at one replica."""

    def __init__(self) -> None:
        self._running: dict[CallKey, _Running] = {}
        self._polled_at = 0.0

    def begin(self, key: CallKey, alias: str) -> None:
        self._running[key] = _Running(alias, time.monotonic())

    def end(self, key: CallKey) -> None:
        self._running.pop(key, None)

    def due(self, *, looked_at: bool) -> bool:
        now = time.monotonic()
        if not self._running or now - self._polled_at < (LOOK_S if looked_at else LONG_S):
            return False
        return looked_at or any(now - seen.since >= LONG_S for seen in self._running.values())

    def offsets(self) -> dict[CallKey, int]:
        """The question of the next poll: from which character on each text is wanted."""
        self._polled_at = time.monotonic()
        return {key: seen.chars for key, seen in self._running.items()}

    def add(self, found: Mapping[CallKey, AttemptProgress]) -> None:
        for key, progress in found.items():
            seen = self._running.get(key)
            if seen is None:
                continue
            seen.progress = progress
            if progress.text and progress.offset == seen.chars:
                seen.pieces.append(progress.text)
                seen.chars += len(progress.text)

    def text(self, key: CallKey) -> str:
        """The text of an attempt as far as it is known here."""
        seen = self._running.get(key)
        return "" if seen is None else "".join(seen.pieces)

    def of_run(self, run_id: str) -> list[tuple[CallKey, str, AttemptProgress]]:
        """The run's running attempts: key, alias, progress."""
        return [
            (key, seen.alias, seen.progress)
            for key, seen in self._running.items()
            if key.run_id == run_id
        ]
