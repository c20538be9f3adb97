"""Replicas and the workspace process, as real Ray actors in a private Ray."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from actors.remote_error import cause_of
from actors.replica.supervisor import Supervisor
from cluster.local import LocalCluster
from familiar.call import CallOrder, Deadlines, Publication, Published
from familiar.config.schema import PoolConfig, ReplicaConfig
from familiar.errors import EngineError, FailureClass, StaleEpoch, WorkspaceError
from tests.actors.replicas import (
    attempted,
    order,
    outcomes,
    replica,
    sent,
    status,
    wait_for,
    workspace_actor,
)

pytestmark = pytest.mark.ray


@pytest.fixture
def actors(shared_ray: LocalCluster) -> Iterator[list[Any]]:
    """Actors made by a test; they end with it."""
    made: list[Any] = []
    yield made
    for actor in made:
        ray.kill(actor)


# -- life ----------------------------------------------------------------------------------------


def test_a_replica_starts_carries_out_and_reports(actors: list[Any]) -> None:
    actor = replica(actors, {"answer": {"tokens": 100}}, fingerprint="abc")
    assert ray.get(actor.fingerprint.remote()) == "abc"
    assert status(actor).state == "new"
    (early,) = attempted(actor, order("early"))
    assert early.failure is not None
    assert early.failure.failure_class == FailureClass.BACKEND_UNREACHABLE

    ray.get([actor.start.remote() for _ in range(3)])
    ended = attempted(actor, *(order(f"c{n}") for n in range(20)))
    assert [o.usage.output_tokens for o in ended] == [100] * 20
    report = status(actor)
    assert (report.state, report.healthy, report.pool, report.replica) == (
        "ready",
        True,
        "p",
        "p-0",
    )
    assert report.stats.output_tokens == 2000
    assert report.pid > 0
    assert len(ray.get(actor.held.remote(1))) == 21
    ray.get(actor.release.remote([o.key for o in ended]))
    assert ray.get(actor.held.remote(1)) == [order("early").key]


def test_an_engine_that_never_starts_says_why_each_time(actors: list[Any]) -> None:
    actor = replica(actors, {"start": {"never": True, "message": "no such weights"}})
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            ray.get(actor.start.remote())
        cause = cause_of(caught.value)
        assert isinstance(cause, EngineError)
        assert "no such weights" in str(cause)
        assert "Traceback" not in str(cause)
        assert cause.evidence["replica"] == "p-0"
    assert "no such weights" in status(actor).detail


def test_while_it_starts_it_says_since_when(actors: list[Any]) -> None:
    actor = replica(actors, {"start": {"never": True, "hangs": True}})
    starting = actor.start.remote()
    wait_for(lambda: status(actor).state == "starting")
    assert "scripted with script for" in status(actor).detail
    assert ray.wait([starting], timeout=0)[1]


def test_a_wrong_script_is_an_error_of_the_start(actors: list[Any]) -> None:
    actor = replica(actors, {"rulez": []})
    with pytest.raises(Exception, match="rulez"):
        ray.get(actor.start.remote())


def test_a_dead_engine_fails_its_calls_and_ends_the_process(actors: list[Any]) -> None:
    actor = replica(
        actors,
        {
            "rules": [
                {"when": {"call": "killer"}, "faults": [{"kind": "die", "after_tokens": 2}]},
                {"when": {"call": "stuck"}, "faults": [{"kind": "stall", "after_tokens": 1}]},
            ]
        },
    )
    ray.get(actor.start.remote())
    asked = [sent(actor, order("stuck"))]
    wait_for(lambda: bool(ray.get(actor.progress.remote())))
    asked.append(sent(actor, order("killer")))
    ended = outcomes(*asked)
    assert {outcome.key.call_id for outcome in ended} == {"stuck", "killer"}
    for outcome in ended:
        assert outcome.failure is not None
        assert outcome.failure.failure_class == FailureClass.BACKEND_UNREACHABLE
        assert "died" in outcome.failure.message
        assert outcome.failure.evidence["replica"] == "p-0"

    def gone() -> bool:
        try:
            return not status(actor).healthy and False
        except RayActorError:
            return True

    wait_for(gone)


def test_an_old_epoch_is_rejected(actors: list[Any]) -> None:
    actor = replica(actors)
    ray.get(actor.start.remote())
    ray.get(actor.held.remote(7))
    with pytest.raises(StaleEpoch, match="serves epoch 7"):
        attempted(actor, order(epoch=6))


def test_cancelling_frees_the_engine(actors: list[Any]) -> None:
    actor = replica(actors, {"rules": [{"faults": [{"kind": "stall", "after_tokens": 3}]}]})
    ray.get(actor.start.remote())
    pending = sent(actor, order())
    wait_for(lambda: status(actor).stats.output_tokens == 3)
    assert ray.get(actor.cancel.remote(order().key))
    (outcome,) = outcomes(pending)
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CANCELLED
    assert status(actor).stats.running == 0


# -- the workspace process -----------------------------------------------------------------------


def test_a_workspace_error_crosses_ray_with_its_path(actors: list[Any], tmp_path: Path) -> None:
    bench = workspace_actor(actors)
    publication = Publication(
        key=order().key,
        epoch=1,
        workspace=str(tmp_path),
        path="../x",
        sha256=hashlib.sha256(b"x").hexdigest(),
        text="x",
        alias="grandpa",
    )
    with pytest.raises(WorkspaceError) as caught:
        ray.get(bench.publish.remote(publication))
    cause = cause_of(caught.value)
    assert isinstance(cause, WorkspaceError)
    assert cause.path == "../x"


def test_errors_of_an_engine_keep_their_class_over_ray(actors: list[Any]) -> None:
    actor = replica(
        actors,
        {
            "rules": [
                {"when": {"call": "rejected"}, "faults": [{"kind": "status", "status": 404}]},
                {"when": {"call": "cut"}, "faults": [{"kind": "cut", "after_tokens": 5}]},
            ]
        },
    )
    ray.get(actor.start.remote())
    for call, expected, tokens in [
        ("rejected", FailureClass.BACKEND_REFUSED, 0),
        ("cut", FailureClass.BACKEND_UNREACHABLE, 5),
    ]:
        (outcome,) = attempted(actor, order(call))
        assert outcome.failure is not None
        assert outcome.failure.failure_class == expected, outcome.failure
        assert outcome.failure.evidence["replica"] == "p-0"
        assert outcome.usage.output_tokens == tokens
        assert "Traceback" not in outcome.failure.message


# -- adoption and kills --------------------------------------------------------------------------


def test_work_goes_on_without_its_orchestrator_and_is_adopted(
    actors: list[Any], tmp_path: Path
) -> None:
    """The asker is an actor that is killed in the middle; the next one gets the same attempt."""
    counter = tmp_path / "invocations"
    actor = replica(
        actors,
        {
            "rates": {"tokens_per_s": 100},
            "answer": {"tokens": 100},
            "invocations": str(counter),
        },
    )
    ray.get(actor.start.remote())

    asker: Any = ray.remote(Asker).options(num_cpus=0).remote()
    asker.ask.remote(actor, [pickle.dumps(order())])
    wait_for(lambda: status(actor).stats.output_tokens > 5)
    ray.kill(asker)
    assert ray.get(actor.held.remote(2)) == [order().key]
    (outcome,) = attempted(actor, order(epoch=2))
    assert (outcome.failure, outcome.usage.output_tokens) == (None, 100)
    assert len(counter.read_text().splitlines()) == 1


class Asker:
    """Stands for an orchestrator: it asks for attempts and waits for them."""

    async def ask(self, target: Any, wanted: list[bytes]) -> None:
        await asyncio.gather(*(target.attempt.remote(order) for order in wanted))


@pytest.mark.parametrize("count", [512, pytest.param(4096, marks=pytest.mark.soak)])
def test_many_attempts_are_adopted_twice_and_questions_are_answered_meanwhile(
    actors: list[Any], tmp_path: Path, tell: Callable[[str], None], count: int
) -> None:
    """All are in flight; two askers are killed; the third gets every outcome, each once."""
    counter = tmp_path / "invocations"
    script = {"rates": {"tokens_per_s": 2, "ttft_s": 6 * count / 4096}, "answer": {"tokens": 12}}
    actor = replica(actors, {**script, "invocations": str(counter)})
    ray.get(actor.start.remote())
    waited = list[float]()
    keys = {order(f"c{number}").key for number in range(count)}

    def all_of(epoch: int) -> list[CallOrder]:
        limits = Deadlines(300, 300, 600)
        return [order(f"c{n}", epoch=epoch, deadlines=limits) for n in range(count)]

    for epoch in (1, 2):
        asker: Any = ray.remote(Asker).options(num_cpus=0).remote()
        asker.ask.remote(actor, [pickle.dumps(order) for order in all_of(epoch)])
        wait_for(lambda at=epoch: len(ray.get(actor.held.remote(at))) == count)
        for _ in range(5):
            asked = time.monotonic()
            status(actor)
            waited.append(time.monotonic() - asked)
        ray.kill(asker)
        assert set(ray.get(actor.held.remote(epoch + 1))) == keys
    ended = attempted(actor, *all_of(3))
    assert {outcome.key for outcome in ended if outcome.failure is None} == keys
    assert len(counter.read_text().splitlines()) == count
    tell(f"status with {count} attempts in flight: {max(waited):.3f} s at most")


async def test_the_text_polled_last_is_the_partial_of_a_replica_that_died(
    actors: list[Any],
) -> None:
    actor = replica(actors, {"rates": {"tokens_per_s": 50}, "answer": {"tokens": 10_000}})
    await actor.start.remote()
    pool = PoolConfig(engine="scripted", model="script", replicas=[ReplicaConfig()])
    supervisor = Supervisor("p", "p:0", pool, 0, "tests", "", on_change=lambda view: None)
    supervisor.handle = actor
    pending = asyncio.ensure_future(supervisor.attempt(order()))
    written = ""
    while len(written) < 20:
        await asyncio.sleep(0.05)
        await supervisor.poll_text()
        written = supervisor.written.text(order().key)
    ray.kill(actor)
    actors.clear()
    outcome = await pending
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.BACKEND_UNREACHABLE
    assert outcome.failure.evidence["process_died"] is True
    assert (outcome.raw, outcome.partial_incomplete) == (written, True)


@pytest.mark.parametrize("point", ["renamed", "committed"])
def test_a_workspace_process_killed_at_any_step_comes_back_and_publishes_once(
    actors: list[Any], tmp_path: Path, point: str
) -> None:
    root = tmp_path / "ws"
    armed = tmp_path / "armed"
    armed.write_text(f"workspace/{point}")
    bench = workspace_actor(
        actors,
        options={
            "max_restarts": -1,
            "runtime_env": {"env_vars": {"FAMILIAR_CRASH": str(armed)}},
        },
    )
    ray.get(bench.unwritable.remote(str(root), []))
    publication = Publication(
        key=order().key,
        epoch=1,
        workspace=str(root),
        path="page.html",
        sha256=hashlib.sha256(b"words\n").hexdigest(),
        text="words\n",
        alias="grandpa",
    )
    with pytest.raises(RayActorError):
        ray.get(bench.publish.remote(publication))
    assert not armed.exists(), "the crash did not happen"
    again = replace(publication, repeated=True)

    def patiently() -> Published:
        for _ in range(100):
            try:
                published: Published = ray.get(bench.publish.remote(again))
                return published
            except RayActorError:
                time.sleep(0.1)
        raise AssertionError("the workspace process did not come back")

    published = patiently()
    assert patiently() == published
    assert (root / "page.html").read_text() == "words\n"
    assert _log(root) == [published.commit]


def _log(root: Path) -> list[str]:
    done = subprocess.run(["git", "rev-list", "HEAD"], cwd=root, check=True, capture_output=True)
    return done.stdout.decode().split()
