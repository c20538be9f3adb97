"""Work that outlives an orchestrator is adopted, lost work begins again, old epochs are rejected.

One deployment serves the whole module; before each test it is brought back to how it began.
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from actors.orchestrator.ownership import LEASE_S
from actors.remote_error import cause_of
from actors.store.lease import OwnedElsewhere
from actors.store.store import Store
from cluster.local import LocalCluster
from familiar import event as ev
from familiar.config.schema import Config
from familiar.errors import FailureClass, StaleEpoch
from familiar.service import SubmitRun
from tests.actors.deployment import (
    SLOW_GOAL,
    Deployment,
    deployed,
    kill,
    scripted_config,
    wait_for,
)

pytestmark = pytest.mark.ray
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def lasting(
    shared_ray: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("adoption")
    with deployed(scripted_config(folder), folder) as made:
        yield made


@pytest.fixture
def deployment(lasting: Deployment) -> Deployment:
    lasting.redeploy(scripted_config(lasting.folder))
    return lasting


def wait_streaming(deployment: Deployment, run_id: str) -> None:
    """Until both calls of a slow run have some tokens."""

    def flowing() -> bool:
        progress = deployment.ask(lambda: deployment.orchestrator.progress.remote(run_id))
        return {each.call for each in progress if each.tokens > 2} == {"talk", "listen"}

    wait_for(flowing, f"the streams of {run_id}")


def bodies(deployment: Deployment, run_id: str) -> dict[str, list[Any]]:
    """The run's events by type."""
    found: dict[str, list[Any]] = {}
    for event in deployment.history(run_id):
        found.setdefault(event.body.type, []).append(event.body)
    return found


def calls_made(deployment: Deployment, run_id: str) -> list[tuple[str, int]]:
    """Every (call, attempt) that an engine was asked for."""
    return sorted((i.call, i.attempt) for i in deployment.invocations() if i.run == run_id)


def known_runs(deployment: Deployment) -> set[str]:
    return {row.run_id for row in deployment.reader.list_runs(limit=100)}


ONCE = [("listen", 1), ("plan-1", 1), ("synthesis-1", 1), ("talk", 1)]


def test_streams_outlive_the_orchestrator_and_are_adopted_from_the_replicas_that_hold_them(
    deployment: Deployment,
) -> None:
    run_id = deployment.submit(SLOW_GOAL)
    wait_streaming(deployment, run_id)
    kill(deployment.pid("orchestrator"))
    deployment.wait_ended([run_id])

    events = bodies(deployment, run_id)
    sent = events["call.dispatched"]
    replica = {body.call: body.replica for body in sent if body.kind == "worker"}
    adopted = {body.call: body.holder for body in events["call.adopted"]}
    assert adopted == replica
    assert events["run.ended"][0].outcome == "succeeded"
    assert calls_made(deployment, run_id) == ONCE


def test_an_answer_that_came_while_there_was_no_orchestrator_is_kept_for_the_next_one(
    deployment: Deployment,
) -> None:
    run_id = deployment.submit(SLOW_GOAL)
    wait_streaming(deployment, run_id)
    ray.kill(deployment.orchestrator, no_restart=True)
    held = {"talk", "listen"}
    epoch = deployment.history(run_id)[-1].epoch

    def ended() -> bool:
        actors = [deployment.actor(f"replica:{name}") for name in ("near:0", "near:1", "far:0")]
        known = ray.get([actor.held.remote(epoch) for actor in actors])
        running = ray.get([actor.progress.remote() for actor in actors])
        over = {key.call_id for keys in known for key in keys}
        return over - {key.call_id for keys in running for key in keys} >= held

    wait_for(ended, "the end of the streams")
    deployment.redeploy(deployment.config)
    deployment.wait_ended([run_id])

    events = bodies(deployment, run_id)
    assert {body.call for body in events["call.adopted"]} == held
    assert calls_made(deployment, run_id) == ONCE


def test_a_run_that_was_committed_and_not_answered_for_is_found_by_its_key(
    deployment: Deployment,
) -> None:
    before = known_runs(deployment)
    request = SubmitRun(SLOW_GOAL, idempotency_key="the-key")
    armed = deployment.arm("orchestrator/commit:1")
    with pytest.raises(RayActorError):
        ray.get(deployment.orchestrator.submit.remote(request))
    assert not armed.exists(), "the crash did not happen"

    receipt = deployment.ask(lambda: deployment.orchestrator.submit.remote(request))
    assert not receipt.created
    assert known_runs(deployment) - before == {receipt.run_id}
    deployment.wait_ended([receipt.run_id])
    assert deployment.reader.run(receipt.run_id).status == "succeeded"


def test_a_call_waits_for_the_successor_of_its_pools_only_replica(deployment: Deployment) -> None:
    run_id = deployment.submit(SLOW_GOAL)
    wait_streaming(deployment, run_id)
    kill(deployment.pid("replica:far:0"))
    deployment.wait_ended([run_id])

    events = bodies(deployment, run_id)
    sent = [body.attempt for body in events["call.dispatched"] if body.call == "listen"]
    assert sent == [1, 2], "attempts were spent on a replica that was gone"
    (failed,) = events["call.failed"]
    assert failed.failure.failure_class is FailureClass.BACKEND_UNREACHABLE
    assert events["run.ended"][0].outcome == "succeeded"


def changed(config: Config) -> Config:
    """Another model in `far`, and one replica less in `near`."""
    pools = dict(config.pools)
    pools["far"] = pools["far"].model_copy(update={"model": "another"})
    pools["near"] = pools["near"].model_copy(update={"replicas": pools["near"].replicas[:1]})
    return config.model_copy(update={"pools": pools})


def test_a_redeploy_replaces_what_changed_and_nothing_else_while_runs_go_on(
    deployment: Deployment,
) -> None:
    names = ["replica:near:0", "replica:far:0", "workspace", "orchestrator"]
    before = {name: deployment.pid(name) for name in names}
    runs = [deployment.submit(SLOW_GOAL) for _ in range(3)]
    for run_id in runs:
        wait_streaming(deployment, run_id)

    deployment.redeploy(changed(deployment.config))
    after = {name: deployment.pid(name) for name in names}
    assert {name for name in names if before[name] == after[name]} == {
        "replica:near:0",
        "workspace",
    }
    with pytest.raises(ValueError, match=r"replica:near:1"):
        deployment.actor("replica:near:1")
    assert set(deployment.replicas()) == {"near:0", "far:0"}

    deployment.wait_ended(runs)
    for run_id in runs:
        events = deployment.history(run_id)
        assert deployment.reader.run(run_id).status == "succeeded"
        assert events[0].epoch < events[-1].epoch
        sent = [e.body for e in events if isinstance(e.body, ev.CallDispatched)]
        kept = {body.call for body in sent if body.replica == "near:0" and body.attempt == 1}
        made = calls_made(deployment, run_id)
        assert all((call, 2) not in made for call in kept)


def without_grandpa(folder: Path) -> Config:
    settings = scripted_config(folder).model_dump(mode="json")
    del settings["aliases"]["grandpa"]
    return Config.model_validate(settings)


def test_a_call_in_flight_is_kept_when_its_alias_is_removed(deployment: Deployment) -> None:
    run_id = deployment.submit(SLOW_GOAL)
    wait_streaming(deployment, run_id)
    deployment.redeploy(without_grandpa(deployment.folder))
    deployment.wait_ended([run_id])
    events = bodies(deployment, run_id)
    assert {body.call for body in events["call.adopted"]} == {"talk", "listen"}
    assert events["run.ended"][0].outcome == "succeeded"
    assert calls_made(deployment, run_id) == ONCE


def test_a_call_that_was_lost_with_its_alias_says_so_and_the_run_ends(
    deployment: Deployment,
) -> None:
    run_id = deployment.submit(SLOW_GOAL)
    wait_streaming(deployment, run_id)
    ray.kill(deployment.orchestrator, no_restart=True)
    kill(deployment.pid("replica:far:0"))  # so nothing holds the call
    deployment.redeploy(without_grandpa(deployment.folder))
    deployment.wait_ended([run_id])
    events = bodies(deployment, run_id)
    failed = [body for body in events["call.failed"] if body.call == "listen"]
    assert failed[-1].failure.failure_class is FailureClass.ALIAS_REMOVED
    assert "alias grandpa is not in the configuration any more" in failed[-1].failure.message
    assert ("talk", 2) not in calls_made(deployment, run_id)


def test_an_orchestrator_that_was_superseded_harms_nothing_and_comes_back_when_it_may(
    deployment: Deployment,
) -> None:
    run_id = deployment.submit(SLOW_GOAL)
    wait_streaming(deployment, run_id)
    epoch = deployment.history(run_id)[-1].epoch
    store = Store.open(deployment.config.store.url, create=False)
    with pytest.raises(OwnedElsewhere) as owned:
        store.take_epoch()
    newer = store.take_epoch(lease_s=LEASE_S, gone=owned.value.owner_id)
    before, last = known_runs(deployment), deployment.reader.head(run_id).last_seq

    with pytest.raises(RayActorError):
        ray.get(deployment.orchestrator.submit.remote(SubmitRun(SLOW_GOAL)))
    assert known_runs(deployment) == before
    assert deployment.reader.head(run_id).last_seq == last
    readiness = deployment.ask(deployment.orchestrator.readiness.remote)
    assert not readiness.ready

    def says_who_owns_it() -> bool:
        found = deployment.ask(deployment.orchestrator.readiness.remote)
        return f"owned by process {os.getpid()}" in " ".join(found.reasons)

    wait_for(says_who_owns_it, "the reason")
    store.release()
    store.close()
    deployment.wait_ended([run_id])
    events = deployment.history(run_id)
    assert {event.epoch for event in events} == {epoch, newer + 1}
    assert calls_made(deployment, run_id) == ONCE
    asked = [
        deployment.actor("workspace").fence.remote(epoch),
        deployment.actor("replica:near:0").held.remote(epoch),
    ]
    for answer in asked:
        with pytest.raises(Exception, match="epoch") as rejected:
            ray.get(answer)
        assert isinstance(cause_of(rejected.value), StaleEpoch)


DRIVER = """
import pickle, sys
from actors.deploy import ensure_deployment
from cluster.local import connect
connect(sys.argv[1], namespace="tests")
ensure_deployment(pickle.load(open(sys.argv[2], "rb")))
"""


def test_an_orchestrator_with_a_large_configuration_outlives_the_program_that_started_it(
    deployment: Deployment,
) -> None:
    settings = scripted_config(deployment.folder).model_dump(mode="json")
    settings["pools"]["far"]["engine_args"]["script"]["rules"].append(
        {"when": {"call": "none"}, "answer": random.Random(0).randbytes(100_000).hex()}
    )
    config = Config.model_validate(settings)
    file = deployment.folder / "large.pickle"
    file.write_bytes(pickle.dumps(config))
    before = deployment.pid("orchestrator")
    address = ray.get_runtime_context().gcs_address
    subprocess.run([sys.executable, "-c", DRIVER, address, file], cwd=REPOSITORY, check=True)
    deployment.redeploy(config)  # which finds it as it is
    started = deployment.pid("orchestrator")
    assert started != before
    kill(started)
    deployment.wait_replaced("orchestrator", started)
    run_id = deployment.submit()
    deployment.wait_ended([run_id])
    assert bodies(deployment, run_id)["run.ended"][0].outcome == "succeeded"
