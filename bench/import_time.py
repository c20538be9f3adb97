"""How long a fresh interpreter needs to import every `familiar.*` module.

Each sample is a new process that times the imports alone, not the interpreter's own start. The
peer is pydantic, which the domain is built on: its import, timed in alternation, is the
floor. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

GOAL_SECONDS = 0.5

FAMILIAR = """
import pkgutil, sys, time, importlib
started = time.perf_counter()
package = importlib.import_module("familiar")
count = 1
for module in pkgutil.walk_packages(package.__path__, "familiar."):
    importlib.import_module(module.name)
    count += 1
print(time.perf_counter() - started, count)
"""
PYDANTIC = """
import time
started = time.perf_counter()
import pydantic
pydantic.BaseModel
print(time.perf_counter() - started, 1)
"""


def sample(program: str) -> tuple[float, int]:
    """Seconds and modules of one import in a fresh interpreter."""
    root = Path(__file__).resolve().parent.parent
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    return float(out[0]), int(out[1])


def main() -> None:
    """Measure in alternation and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=7)
    samples: int = parser.parse_args().samples
    sample(FAMILIAR)  # writes the byte code, which a user pays for once
    ours: list[float] = []
    floor: list[float] = []
    modules = 0
    for _ in range(samples):
        seconds, modules = sample(FAMILIAR)
        ours.append(seconds)
        floor.append(sample(PYDANTIC)[0])
    print(f"familiar.*: {modules} modules, median of {samples}: {statistics.median(ours):.3f} s")
    print(f"pydantic alone: {statistics.median(floor):.3f} s")
    print(
        json.dumps(
            {
                "bench": "import_time",
                "value": round(statistics.median(ours), 4),
                "unit": "s",
                "goal": f"< {GOAL_SECONDS}",
                "peers": {"pydantic alone": round(statistics.median(floor), 4)},
                "settings": {
                    "samples": samples,
                    "modules": modules,
                    "slowest": round(max(ours), 4),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
