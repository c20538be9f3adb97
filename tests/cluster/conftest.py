"""One private Ray with four logical GPUs for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.local import LocalCluster, start_local
from familiar.config.schema import ClusterConfig

FOUR_GPUS = ClusterConfig(
    num_cpus=2, logical_gpus=4, object_store_mib=100, labels={"gpu-host": "a"}
)


@pytest.fixture(scope="module")
def four_gpus() -> Iterator[LocalCluster]:
    with start_local(FOUR_GPUS, namespace="tests") as cluster:
        yield cluster
