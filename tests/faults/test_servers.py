"""Servers that misbehave, behind a whole deployment: many runs at once, each of a drawn scenario.

Every run ends: `succeeded` with the text that the server meant, or with the true cause named first,
in the server's own words.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import LocalCluster
from familiar.config.schema import Config
from familiar.errors import FailureClass
from familiar.event import CallSucceeded, Event, RunEnded
from familiar.explain.cause import Cause
from familiar.explain.explain import explain
from tests.actors.deployment import Deployment, deployed
from tests.actors.engines.openai.misbehaving import AS_ASKED, SCENARIOS, served_in_a_thread
from tests.actors.engines.openai.scenario import Expected

pytestmark = pytest.mark.ray

CAUSES: dict[FailureClass, set[Cause]] = {
    FailureClass.BACKEND_UNREACHABLE: {
        Cause.BACKEND_UNREACHABLE,
        Cause.BACKEND_LOADING,
        Cause.BACKEND_OVERLOADED,
        Cause.STREAM_CUT,
    },
    FailureClass.BACKEND_REFUSED: {Cause.BACKEND_REFUSED, Cause.KEY_REFUSED},
    FailureClass.CONTEXT_OVERFLOW: {Cause.CONTEXT_OVERFLOW},
    FailureClass.OUTPUT_INVALID: {Cause.OUTPUT_INVALID},
}


def pool_of(expected: Expected) -> str:
    """Scenarios that need settings of their own have a pool of their own."""
    names = sorted(expected.engine_args)
    return "plain" if not names else "with-" + "-".join(names).replace("_", "-")


def plan(name: str) -> dict[str, object]:
    prompt = f"Write a title and a line. scenario={name} story=$run"
    call = {"id": "work", "alias": pool_of(SCENARIOS[name][1]), "prompt": prompt}
    answer = json.dumps({"continue": False, "worker_calls": [call]})
    return {"when": {"call": "plan-*", "contains": mark(name)}, "answer": {"template": answer}}


def mark(name: str) -> str:
    return f"goal-{name}-goal"


def config(folder: Path, url: str) -> Config:
    planner = {
        "engine": "scripted",
        "model": "script",
        "slots": 256,
        "context_length": 200_000,
        "replicas": [{}],
        "engine_args": {"script": {"rules": [plan(name) for name in SCENARIOS]}},
    }
    pools: dict[str, Any] = {"brain": planner}
    aliases: dict[str, Any] = {"orchestrator": {"pool": "brain", "parallel": 256}}
    for _, expected in SCENARIOS.values():
        name = pool_of(expected)
        pools[name] = {
            "engine": "openai",
            "model": AS_ASKED,
            "slots": 256,
            "context_length": 200_000,
            "replicas": [{"url": url}],
            "engine_args": {"patience_s": 15, **expected.engine_args},
        }
        aliases[name] = {
            "pool": name,
            "parallel": 256,
            "deadline_s": 240.0,
            "first_token_deadline_s": 200.0,
            "stall_deadline_s": 100.0,
            "queue_deadline_s": 240.0,
        }
    return Config.model_validate(
        {
            "deployment": "servers",
            "pools": pools,
            "aliases": aliases,
            "orchestrator": {"rules_planner": False, "synthesis": False},
            "budgets": {"turns": 1, "attempts": 2},
            "store": {"url": f"sqlite:///{folder}/servers.db"},
            "workspace": {"root": str(folder / "workspaces")},
            "api": {"auth": "none"},
        }
    )


@pytest.fixture(scope="module")
def deployment(
    shared_ray: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("servers")
    with served_in_a_thread() as url, deployed(config(folder, url), folder) as found:
        yield found


def held(events: list[Event], deployment: Deployment, expected: Expected) -> str:
    """Why the end of a run is not the expected one; empty when it is."""
    end = events[-1].body
    if not isinstance(end, RunEnded):
        return "it did not end"
    if expected.failure is None:
        done = [e.body for e in events if isinstance(e.body, CallSucceeded)][-1:]
        if end.outcome != "succeeded" or not done or done[0].kind != "worker":
            return f"{end.outcome}: {end.reason}"
        text = deployment.reader.text(done[0].text.sha256)
        ref = done[0].reasoning
        reasoning = "" if ref is None else deployment.reader.text(ref.sha256)
        if (text, reasoning) != (expected.text, expected.reasoning):
            return f"{text!r} after reasoning {reasoning!r}"
        return ""
    if end.outcome != "failed":
        return f"{end.outcome}: {end.reason}"
    first = explain(events).causes[0]
    said = " ".join([first.says, *(evidence.says for evidence in first.evidence)])
    if first.cause not in CAUSES[expected.failure] or expected.words not in said:
        return f"{first.cause}: {said}"
    return ""


def play(deployment: Deployment, names: list[str]) -> dict[str, str]:
    """The runs that did not end as expected, by scenario and run."""
    runs = [(name, deployment.submit(f"Do {mark(name)}.")) for name in names]
    deployment.wait_ended(run_id for _, run_id in runs)
    found = {
        f"{name} {run_id}": held(deployment.history(run_id), deployment, SCENARIOS[name][1])
        for name, run_id in runs
    }
    return {where: why for where, why in found.items() if why}


def test_every_scenario_ends_with_its_text_or_its_cause(deployment: Deployment) -> None:
    assert play(deployment, list(SCENARIOS)) == {}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_200_drawn_scenarios_at_once(deployment: Deployment, seed: int) -> None:
    assert play(deployment, random.Random(seed).choices(list(SCENARIOS), k=200)) == {}
