"""A pool that cannot start is said at once, not after its whole deadline."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.deploy import ensure_deployment, wait_ready
from actors.take_down import take_down
from familiar.config.schema import Config
from familiar.errors import ClusterError
from tests.actors.deployment import scripted_config

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def test_waiting_ends_with_the_reason_when_a_pool_failed_to_start_again_and_again(
    tmp_path: Path,
) -> None:
    settings = scripted_config(tmp_path).model_dump(mode="json")
    settings["pools"] = {"near": settings["pools"]["near"] | {"replicas": [{}]}}
    for alias in settings["aliases"].values():
        alias["pool"] = "near"
    settings["pools"]["near"]["engine_args"]["script"]["start"] = {
        "never": True,
        "message": "no such weights",
    }
    config = Config.model_validate(settings)
    orchestrator = ensure_deployment(config)
    try:
        with pytest.raises(ClusterError, match=r"cannot become ready.*no such weights"):
            wait_ready(orchestrator, timeout_s=500)
    finally:
        take_down(config.deployment)
