"""configs/four-gpu.yaml on four logical GPUs: every replica on its device, and a run that ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from cluster.groups import reservations
from cluster.local import LocalCluster
from familiar.config.load import load_config
from familiar.config.schema import Config
from familiar.event import CallDispatched
from tests.actors.deployment import Deployment, deployed, plan_of

pytestmark = pytest.mark.ray

GPUS = {"naughty:0": 1, "naughty:1": 3, "orchestrator:0": 0, "orchestrator:1": 2}

PLAN: dict[str, Any] = {
    "continue": False,
    "worker_calls": [
        {"id": "page", "alias": "naughty", "prompt": "Write page.md.", "output_file": "page.md"},
        {"id": "notes", "alias": "naughty", "prompt": "Write notes.md.", "output_file": "notes.md"},
        {
            "id": "seite",
            "alias": "translator",
            "prompt": "Translate page.md into German.",
            "depends_on": ["page"],
            "output_file": "seite.md",
        },
        {
            "id": "review",
            "alias": "grandpa",
            "prompt": "Review everything.",
            "depends_on": ["notes", "seite"],
            "needs": ["page.md"],
        },
    ],
}
GOAL = "Write `page.md` and `notes.md`, and translate the page as `seite.md`."


def four_gpu_config(repository: Path, folder: Path) -> Config:
    """The shipped configuration with nothing changed but the engines and where data goes."""
    script = {
        "rules": [{"when": {"call": "plan-*"}, "answer": json.dumps(PLAN)}],
        "answer": {"template": "# $call\n\nSome words.\n"},
        "rates": {"tokens_per_s": 100},
        "invocations": str(folder / "invocations"),
    }
    return load_config(
        repository / "configs" / "four-gpu.yaml",
        overrides={
            "deployment": "four-gpu",
            "pools.*.engine": "scripted",
            "pools.*.engine_args": {"script": script},
            "store.url": f"sqlite:///{folder}/familiar.db",
            "workspace.root": str(folder / "workspaces"),
            "api": {"auth": "none"},
        },
    )


@pytest.fixture(scope="module")
def deployment(
    shared_ray: LocalCluster, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("four-gpu")
    config = four_gpu_config(repository, folder)
    with deployed(config, folder) as made:
        yield made


def devices_seen(_: object) -> tuple[str | None, list[str]]:
    """What a replica's process may use, by CUDA's rules and by Ray's books."""
    given = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    return os.environ.get("CUDA_VISIBLE_DEVICES"), list(given)


def test_every_replica_sits_on_the_gpu_that_the_configuration_names(
    deployment: Deployment,
) -> None:
    held = {group.replica_id: group.device for group in reservations()}
    assert held == {replica: f"gpu:{gpu}" for replica, gpu in GPUS.items()}
    for replica, gpu in GPUS.items():
        actor = deployment.actor(f"replica:{replica}")
        visible, given = ray.get(actor.__ray_call__.remote(devices_seen))
        assert (visible, given) == (str(gpu), [str(gpu)])
        assert ray.get(actor.status.remote()).devices == (f"gpu {gpu}",)
    views = deployment.replicas()
    assert {view.state for view in views.values()} == {"ready"}
    assert set(views) == {*GPUS, "grandpa:0", "translator:0"}
    pids = {ray.get(deployment.actor(f"replica:{name}").status.remote()).pid for name in views}
    assert len(pids) == len(views)


def test_a_valid_plan_of_the_model_runs_unchanged_on_all_pools(deployment: Deployment) -> None:
    run_id = deployment.submit(GOAL)
    deployment.wait_ended([run_id])
    row = deployment.reader.run(run_id)
    assert (row.status, row.turns) == ("succeeded", 1), row.reason
    assert sorted(row.files_made) == ["notes.md", "page.md", "seite.md"]

    events = deployment.history(run_id)
    assert plan_of(events) == PLAN["worker_calls"]
    (plan,) = deployment.reader.plan(run_id)
    assert plan.turn.planner == "model"
    served = {
        event.body.call: event.body.replica
        for event in events
        if isinstance(event.body, CallDispatched)
    }
    assert {served["page"], served["notes"]} == {"naughty:0", "naughty:1"}
    assert served["plan-1"] in {"orchestrator:0", "orchestrator:1"}
    assert (served["seite"], served["review"]) == ("translator:0", "grandpa:0")
    assert {each.call for each in deployment.invocations()} == set(served)
    for event in events:
        if isinstance(event.body, CallDispatched) and event.body.replica in GPUS:
            assert event.body.devices == (f"gpu {GPUS[event.body.replica]}",)
