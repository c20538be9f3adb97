"""One private Ray for all modules whose tests need some Ray, and none of their own.

To start a Ray and to end it takes four seconds of a core and more of waiting. This one is started
for the first module that asks (the fixture `shared_ray`), and ended before a module that does not
ask, because a process is connected to one Ray at a time. Whatever tests leave in it disturbs those
after them: deployments are taken down, groups are released, and no step stays armed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cluster.local import LocalCluster, start_local
from familiar.config.schema import ClusterConfig

SETTINGS = ClusterConfig(
    num_cpus=4, logical_gpus=4, object_store_mib=100, labels={"gpu-host": "a", "place": "near"}
)


@dataclass(frozen=True, slots=True)
class SharedRay:
    """`armed` is the file that FAMILIAR_CRASH names in its processes (see `actors.crash`)."""

    cluster: LocalCluster
    armed: Path


_running: SharedRay | None = None


def running() -> SharedRay:
    """The shared Ray, to which this process is connected."""
    global _running
    if _running is None:
        armed = Path(tempfile.mkdtemp(prefix="fam-armed-")) / "armed"
        os.environ["FAMILIAR_CRASH"] = str(armed)
        try:
            _running = SharedRay(start_local(SETTINGS, namespace="tests"), armed)
        finally:
            del os.environ["FAMILIAR_CRASH"]
    return _running


def end() -> None:
    global _running
    if _running is not None:
        _running.cluster.stop()
        shutil.rmtree(_running.armed.parent)
        _running = None
