"""What moves: how fast calls usually are and how busy each role is, at one moment.

The frozen part (roles, limits, contexts) stands in the system prompt; this stands in the newest
message of a plan call only, and the plan lint reckons with the rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """By alias. `rates` are the tokens/s that one call usually gets; an alias whose pool has not
    been measured yet is absent. `running` and `waiting` count calls of all runs."""

    rates: Mapping[str, float] = field(default_factory=dict)
    running: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)


NO_LOAD = PoolLoad()
"""Nothing measured, nothing busy."""
