"""Replicas and the workbench beside the workspace, as real Ray actors in a private Ray."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from actors.crash import CrashSpec
from actors.remote_error import cause_of
from actors.replica.supervisor import Supervisor
from actors.replica_client import ReplicaClient
from cluster.local import start_local
from familiar.call import CallOrder, CallOutcome, Publication, partial_path
from familiar.config.schema import ClusterConfig, PoolConfig, ReplicaConfig
from familiar.engine import Delta
from familiar.errors import EngineError, FailureClass, StaleEpoch, WorkspaceError
from tests.actors.replicas import carried, order, replica, sent, status, wait_for, workbench

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with start_local(ClusterConfig(num_cpus=2, object_store_mib=100), namespace="tests"):
        yield


@pytest.fixture
def actors(local_ray: None) -> Iterator[list[Any]]:
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
    (early,) = carried(actor, order("early"))
    assert early.failure is not None
    assert early.failure.failure_class == FailureClass.BACKEND_UNREACHABLE

    ray.get([actor.start.remote() for _ in range(3)])
    outcomes = carried(actor, *(order(f"c{n}") for n in range(20)))
    assert [o.usage.output_tokens for o in outcomes] == [100] * 20
    report = status(actor)
    assert (report.state, report.healthy, report.pool, report.replica) == (
        "ready",
        True,
        "p",
        "p-0",
    )
    assert report.stats.output_tokens == 2000
    assert report.pid > 0
    assert len(ray.get(actor.held.remote())) == 21
    ray.get(actor.release.remote([o.key for o in outcomes]))
    assert ray.get(actor.held.remote()) == [(order("early").key, "ended")]


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
    assert "starting scripted with script for" in status(actor).detail
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
    wait_for(lambda: bool(status(actor).progress))
    asked.append(sent(actor, order("killer")))
    ended = [outcome for pending in asked for outcome in pending.result()]
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


def test_an_old_epoch_is_refused(actors: list[Any]) -> None:
    actor = replica(actors)
    ray.get(actor.start.remote())
    ray.get(actor.held.remote(7))
    with pytest.raises(StaleEpoch, match="serves epoch 7"):
        carried(actor, order(epoch=6))


def test_cancelling_frees_the_engine(actors: list[Any]) -> None:
    actor = replica(actors, {"rules": [{"faults": [{"kind": "stall", "after_tokens": 3}]}]})
    ray.get(actor.start.remote())
    pending = sent(actor, order())
    wait_for(lambda: status(actor).stats.output_tokens == 3)
    assert ray.get(actor.cancel.remote(order().key))
    (outcome,) = pending.result()
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CANCELLED
    assert status(actor).stats.running == 0


# -- beside the workspace ------------------------------------------------------------------------


def test_the_workbench_takes_the_stream_and_publishes(actors: list[Any], tmp_path: Path) -> None:
    text = "".join(f"<p>{n}</p>\n" for n in range(2000))
    actor = replica(actors, {"answer": text, "rates": {"tokens_per_s": 20_000}})
    bench = workbench(actors)
    ray.get(actor.start.remote())
    token = ray.get(bench.create_workspace.remote(str(tmp_path)))
    assert ray.get(actor.sees.remote(str(tmp_path), token))
    assert not ray.get(actor.sees.remote(str(tmp_path / "other"), token))
    outcome: CallOutcome = ray.get(bench.carry_out.remote(order(workspace=tmp_path), "p-0", actor))
    assert outcome.failure is None, outcome.failure
    assert outcome.text == text
    assert outcome.usage.output_tokens == status(actor).stats.output_tokens
    assert outcome.usage.prompt_tokens > 0
    published = ray.get(
        bench.publish.remote(
            Publication(
                key=outcome.key,
                epoch=1,
                workspace=str(tmp_path),
                path="page.html",
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                text=text,
                alias="grandpa",
            )
        )
    )
    assert len(published.commit) == 40
    assert (tmp_path / "page.html").read_text() == text


def test_a_workspace_error_crosses_ray_with_its_path(actors: list[Any], tmp_path: Path) -> None:
    bench = workbench(actors)
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


def test_cancelling_at_the_workbench_aborts_in_the_replicas_engine(actors: list[Any]) -> None:
    actor = replica(actors, {"rates": {"tokens_per_s": 50}, "answer": {"tokens": 100_000}})
    bench = workbench(actors)
    ray.get(actor.start.remote())
    pending = bench.carry_out.remote(order(), "p-0", actor)
    wait_for(lambda: status(actor).stats.output_tokens > 3)
    assert ray.get(bench.cancel.remote(order().key))
    outcome: CallOutcome = ray.get(pending)
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CANCELLED
    assert outcome.raw
    wait_for(lambda: status(actor).stats.running == 0)


def test_errors_of_a_remote_engine_keep_their_class(actors: list[Any]) -> None:
    actor = replica(
        actors,
        {
            "rules": [
                {"when": {"call": "refused"}, "faults": [{"kind": "status", "status": 404}]},
                {"when": {"call": "cut"}, "faults": [{"kind": "cut", "after_tokens": 5}]},
                {"when": {"call": "exit"}, "faults": [{"kind": "die", "exit": True}]},
            ]
        },
    )
    bench = workbench(actors)
    ray.get(actor.start.remote())
    for call, expected, tokens in [
        ("refused", FailureClass.BACKEND_REFUSED, 0),
        ("cut", FailureClass.BACKEND_UNREACHABLE, 5),
        ("exit", FailureClass.BACKEND_UNREACHABLE, 0),
    ]:
        outcome: CallOutcome = ray.get(bench.carry_out.remote(order(call), "p-0", actor))
        assert outcome.failure is not None
        assert outcome.failure.failure_class == expected, outcome.failure
        assert outcome.failure.evidence["replica"] == "p-0"
        assert outcome.usage.output_tokens == tokens
        assert "Traceback" not in outcome.failure.message
    gone: CallOutcome = ray.get(bench.carry_out.remote(order("none"), "p-0", None))
    assert gone.failure is not None
    assert gone.failure.failure_class == FailureClass.BACKEND_UNREACHABLE


async def test_a_stream_is_coalesced_and_its_first_token_comes_at_once(actors: list[Any]) -> None:
    actor = replica(actors, {"rates": {"tokens_per_s": 1000}, "answer": {"tokens": 500}})
    await actor.start.remote()
    deltas: list[Delta] = [
        await reference async for reference in actor.stream.remote(order().request)
    ]
    assert sum(d.tokens for d in deltas) == 500
    assert len(deltas) < 100
    assert deltas[0].tokens < 20
    assert deltas[-1].finish_reason == "stop"
    assert [d.finish_reason for d in deltas[:-1]] == [None] * (len(deltas) - 1)


# -- adoption and kills --------------------------------------------------------------------------


def test_work_goes_on_without_its_orchestrator_and_is_adopted(
    actors: list[Any], tmp_path: Path
) -> None:
    """The asker is an actor that is killed in the middle; the next one gets the same try."""
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

    class Asker:
        async def ask(self, target: Any, wanted: CallOrder) -> CallOutcome:
            return await ReplicaClient(target).carry_out(wanted)

    asker: Any = ray.remote(Asker).options(num_cpus=0).remote()
    asker.ask.remote(actor, order())
    wait_for(lambda: status(actor).stats.output_tokens > 5)
    ray.kill(asker)
    assert ray.get(actor.held.remote(2)) == [(order().key, "running")]
    (outcome,) = carried(actor, order(epoch=2))
    assert (outcome.failure, outcome.usage.output_tokens) == (None, 100)
    assert len(counter.read_text().splitlines()) == 1


async def test_a_cut_connection_is_opened_again_and_attaches_to_the_same_try(
    actors: list[Any], tmp_path: Path
) -> None:
    counter = tmp_path / "invocations"
    script = {
        "rates": {"tokens_per_s": 100},
        "answer": {"tokens": 100},
        "invocations": str(counter),
    }
    actor = replica(actors, script)
    await actor.start.remote()
    pool = PoolConfig(engine="scripted", model="script", replicas=[ReplicaConfig()])
    supervisor = Supervisor("p", "p:0", pool, 0, "tests", "", on_change=lambda view: None)
    supervisor.handle = actor
    pending = asyncio.ensure_future(supervisor.carry_out(order()))
    while (await actor.status.remote()).stats.output_tokens < 5:
        assert not pending.done()
    assert supervisor._client is not None
    assert supervisor._client._line is not None
    supervisor._client._line.abort()
    outcome = await pending
    assert (outcome.failure, outcome.usage.output_tokens) == (None, 100)
    assert len(counter.read_text().splitlines()) == 1


@pytest.mark.parametrize("point", ["partial_written", "renamed", "committed"])
def test_a_workbench_killed_at_any_step_comes_back_and_publishes_once(
    actors: list[Any], tmp_path: Path, point: str
) -> None:
    root = tmp_path / "ws"
    counter = tmp_path / "invocations"
    actor = replica(actors, {"answer": "words\n", "invocations": str(counter)})
    ray.get(actor.start.remote())
    bench = workbench(
        actors,
        options={"max_restarts": -1},
        crash=CrashSpec(point, 1, str(tmp_path / "crashed")),
    )
    ray.get(bench.create_workspace.remote(str(root)))

    def patiently(ask: Callable[[], Any]) -> Any:
        for _ in range(100):
            try:
                return ray.get(ask())
            except RayActorError:
                time.sleep(0.1)
        raise AssertionError("the workbench did not come back")

    wanted = order(workspace=root)
    outcome: CallOutcome = patiently(lambda: bench.carry_out.remote(wanted, "p-0", actor))
    assert outcome.text == "words\n"
    assert (root / partial_path(wanted.key)).read_text() == "words\n"
    publication = Publication(
        key=wanted.key,
        epoch=1,
        workspace=str(root),
        path="page.html",
        sha256=hashlib.sha256(b"words\n").hexdigest(),
        text="words\n",
        alias="grandpa",
    )
    published = patiently(lambda: bench.publish.remote(publication))
    assert (tmp_path / "crashed").exists(), "the crash did not happen"
    assert patiently(lambda: bench.publish.remote(publication)) == published
    assert (root / "page.html").read_text() == "words\n"
    log = _log(root)
    assert log == [published.commit]
    asked = [json.loads(line)["request_id"] for line in counter.read_text().splitlines()]
    # Before its outcome is committed anywhere, a killed try may run again; after that, never.
    assert len(asked) == (2 if point == "partial_written" else 1)


def _log(root: Path) -> list[str]:
    done = subprocess.run(["git", "rev-list", "HEAD"], cwd=root, check=True, capture_output=True)
    return done.stdout.decode().split()
