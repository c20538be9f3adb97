"""A replica on cores keeps to them with every thread it has, or is told why not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.affinity import bind_to_cores, usable_cores
from familiar.errors import ClusterError

BIND = """
import os, threading
from pathlib import Path
from cluster.affinity import bind_to_cores, usable_cores

stop = threading.Event()
for _ in range(5):
    threading.Thread(target=stop.wait).start()
bind_to_cores(usable_cores()[:1])
tasks = [int(path.name) for path in Path("/proc/self/task").iterdir()]
moved = {tuple(os.sched_getaffinity(task)) for task in tasks}
after = threading.Thread(target=lambda: moved.add(tuple(os.sched_getaffinity(0))))
after.start()
after.join()
stop.set()
print(len(tasks), sorted(moved))
"""


def test_every_thread_moves_those_that_run_and_those_to_come(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BIND], capture_output=True, text=True, check=True, cwd=repository
    )
    assert done.stdout.strip() == f"6 [({usable_cores()[0]},)]"


@pytest.mark.parametrize("cores", [[4000], [0, 4000], []])
def test_cores_that_are_not_there_are_refused(cores: list[int]) -> None:
    before = usable_cores()
    with pytest.raises(ClusterError, match="core"):
        bind_to_cores(cores)
    assert usable_cores() == before
