"""How a bench ends: figures for a person, and one JSON object as the last line for a program."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence


def report(
    bench: str,
    *,
    value: float,
    unit: str,
    goal: str,
    peers: Mapping[str, float],
    settings: Mapping[str, object],
) -> None:
    """Print the last line. `peers` maps a name to its value in the same unit."""
    print(
        json.dumps(
            {
                "bench": bench,
                "value": round(value, 4),
                "unit": unit,
                "goal": goal,
                "peers": {name: round(peer, 4) for name, peer in peers.items()},
                "settings": dict(settings),
            }
        )
    )


def spread(values: Sequence[float]) -> str:
    """Median and range, for the lines above the last."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"median {middle:.4g} (from {low:.4g} to {high:.4g}, n={len(values)})"
