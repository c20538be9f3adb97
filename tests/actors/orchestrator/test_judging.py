"""How the orchestrator actor has plans judged: in the wire of the alias, with the engine's finish
reason, and against the plans of the run that failed.

The scripted engine writes TOML plans without tags, because it does not know the run's suffix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.local import LocalCluster
from familiar.errors import FailureClass
from tests.actors.deployment import Deployment, deployed, scripted_config

pytestmark = pytest.mark.ray

NEEDED, CUT, REFUSED = "needed-words", "cut-words", "refused-words"


def plan(name: str, prompt: str, *, more: bool = False) -> str:
    return (
        f'continue = {str(more).lower()}\n\n[[worker_calls]]\nid = "{name}"\nalias = "grandpa"\n'
        f"depends_on = []\nprompt = '''\n{prompt}\n'''\n"
    )


@pytest.fixture(scope="module")
def deployment(
    shared_ray: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("judging")
    refuse = {"kind": "status", "status": 404, "message": "no such model"}
    script = {
        "rules": [
            {
                "when": {"call": "plan-*", "contains": NEEDED},
                "answer": plan("say", 'Say "hello".'),
            },
            {
                "when": {"call": "plan-*", "contains": CUT},
                "answer": plan("say", "Say this and that. " * 200),
            },
            {"when": {"call": "plan-1"}, "answer": plan("one", "Look at it closely.")},
            {"when": {"call": "plan-2"}, "answer": plan("two", "look at it CLOSELY")},
            {"when": {"call": "synthesis-*"}, "answer": "Done."},
            {"when": {"contains": "closely"}, "faults": [refuse]},
        ],
        "answer": "Hello.",
        "invocations": str(folder / "invocations"),
    }
    alias = {"pool": "near", "first_token_deadline_s": 60.0, "stall_deadline_s": 30.0}
    pool = {"engine": "scripted", "model": "script", "slots": 16, "replicas": [{}]}
    config = scripted_config(
        folder,
        pools={"near": {**pool, "engine_args": {"script": script}}},
        aliases={
            "orchestrator": {**alias, "wire": "toml", "sampling": {"max_tokens": 200}},
            "grandpa": alias,
        },
        orchestrator={"plan_tries": 2, "rules_planner": False},
    )
    with deployed(config, folder) as made:
        yield made


def run(deployment: Deployment, goal: str) -> dict[str, list[Any]]:
    """The bodies of a whole run by type."""
    run_id = deployment.submit(goal, files=())
    deployment.wait_ended([run_id])
    found: dict[str, list[Any]] = {}
    for event in deployment.history(run_id):
        found.setdefault(event.body.type, []).append(event.body)
    return found


def codes(rejected: list[Any]) -> list[set[str]]:
    return [{problem.code for problem in body.problems} for body in rejected]


def test_a_plan_in_another_wire_is_read_and_not_held_to_a_schema(deployment: Deployment) -> None:
    bodies = run(deployment, f"Say something, {NEEDED}.")
    (accepted,) = bodies["plan.accepted"]
    assert accepted.planner == "model"
    assert [call.prompt for call in accepted.calls] == ['Say "hello".']
    dispatched = {body.call: body for body in bodies["call.dispatched"]}
    assert dispatched["plan-1"].grammar is None
    assert bodies["run.ended"][0].outcome == "succeeded"


def test_a_plan_that_the_token_limit_cut_is_never_run(deployment: Deployment) -> None:
    bodies = run(deployment, f"Say much, {CUT}.")
    assert codes(bodies["plan.rejected"]) == [{"wire_truncated"}, {"wire_truncated"}]
    assert "plan.accepted" not in bodies
    (end,) = bodies["run.ended"]
    assert end.failure_class is FailureClass.CALL_TRUNCATED


def test_a_plan_that_failed_is_not_run_again_and_the_backend_stays_the_cause(
    deployment: Deployment,
) -> None:
    bodies = run(deployment, f"Look, {REFUSED}.")
    assert [body.turn for body in bodies["plan.accepted"]] == [1]
    rejected = bodies["plan.rejected"]
    assert codes(rejected) == [{"plan_repeated"}, {"plan_repeated"}]
    assert "no such model" in rejected[0].problems[0].message
    assert rejected[0].fingerprint == rejected[1].fingerprint
    (end,) = bodies["run.ended"]
    assert end.failure_class is FailureClass.BACKEND_REFUSED
