"""The head node comes up while every core is busy, and says why when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.head_node import start_head
from cluster.local import start_local
from familiar.config.schema import ClusterConfig
from familiar.errors import ClusterError

SETTINGS = ClusterConfig(num_cpus=1, object_store_mib=100)


@pytest.fixture
def busy() -> Iterator[None]:
    """One process for each core that does nothing else than compute."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.ray
@pytest.mark.usefixtures("busy")
def test_a_start_succeeds_while_every_core_is_busy() -> None:
    start_local(SETTINGS, namespace="tests").stop()


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("busy")
def test_twenty_of_twenty_starts_succeed_while_every_core_is_busy() -> None:
    for _ in range(20):
        start_local(SETTINGS, namespace="tests").stop()


def test_a_command_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"`ray start` failed .*label"):
        start_head(
            ClusterConfig(num_cpus=1, object_store_mib=100, labels={"a b": "c"}),
            tmp_path,
            dashboard_port=None,
            environment={},
            spare=frozenset(),
        )
