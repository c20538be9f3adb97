"""kill -9 of orchestrator, replica and workspace process: no run is lost, no work is doubled.

On each database, one deployment lives through all kills. Each is drawn from a printed seed: either
a process is armed to die at a step of its own (after a commit, between the rename and the git
commit, with its file written), or it is killed from here right after a certain event of a run was
committed. Several runs are open at any time, and nobody waits for them before the next kill.
Afterwards the histories, the repositories and the engines' own count of invocations have to agree.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from cluster.local import LocalCluster
from familiar import event as ev
from familiar.errors import FailureClass
from familiar.event import Event
from tests.actors.deployment import (
    FILES,
    PLAN,
    Deployment,
    deployed,
    git,
    kill,
    plan_of,
    scripted_config,
    store_url,
    wait_for,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

B = TypeVar("B")

SEEDS = [
    ("sqlite", 4),
    pytest.param("postgresql", 2, marks=pytest.mark.postgres),
    pytest.param("sqlite", 10, marks=pytest.mark.soak),
    pytest.param("postgresql", 10, marks=[pytest.mark.postgres, pytest.mark.soak]),
]
"""Kills of each process on each database: a few seeds, and more by `make soak`."""
RUNS_PER_KILL = 2

STEPS = {
    "orchestrator": {"commit": 16},
    "replica": {"attempt_ended": 5},
    "workspace": {"written": 7, "renamed": 4, "committed": 4},
}
"""The steps at which a process can be armed to die, and the latest time that it reaches one while
two runs go on. Files are written one by one, and renamed and committed in groups."""
LAST_EVENT = 20
"""A run has 23 events; a process is killed after one of the first so many."""


@pytest.fixture(scope="module")
def deployment(
    request: pytest.FixtureRequest,
    shared_ray: LocalCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("kill")
    config = scripted_config(folder, store={"url": store_url(request, folder)})
    with deployed(config, folder) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: what was drawn, whom it hit, and between which moments."""

    seed: str
    where: str
    name: str
    runs: tuple[str, ...]


# -- killing -------------------------------------------------------------------------------------


def strike(deployment: Deployment, victim: str, number: int) -> Kill:
    """Start runs, kill the victim at a drawn boundary, and wait for its successor."""
    seed = f"{victim}-{number}"
    draw = random.Random(seed)
    boundaries = ["event", *STEPS[victim]]
    boundary = boundaries[number % len(boundaries)]
    if boundary == "event":
        return kill_after_event(deployment, victim, draw, seed)
    nth = draw.randint(1, STEPS[victim][boundary])
    return let_it_die(deployment, victim, f"{boundary}:{nth}", seed)


def let_it_die(deployment: Deployment, victim: str, step: str, seed: str) -> Kill:
    pids = {deployment.pid(name): name for name in processes(deployment, victim)}
    armed = deployment.arm(f"{victim}/{step}")
    runs = submit(deployment)
    wait_for(lambda: not armed.exists(), f"the crash of {victim} at {step}")
    (died,) = [pid for pid in pids if Path(f"{armed}.{pid}").exists()]
    deployment.wait_replaced(pids[died], died)
    return Kill(seed, step, pids[died], runs)


def kill_after_event(deployment: Deployment, victim: str, draw: random.Random, seed: str) -> Kill:
    pids = {name: deployment.pid(name) for name in processes(deployment, victim)}
    after = draw.randint(1, LAST_EVENT)
    runs = submit(deployment)
    wait_for(
        lambda: deployment.reader.head(runs[-1]).last_seq >= after, f"event {after}", pause_s=0.002
    )
    busy = [name for name in pids if name in at_work(deployment)]
    name = draw.choice(sorted(busy or pids))
    kill(pids[name])
    deployment.wait_replaced(name, pids[name])
    return Kill(seed, f"event:{after}", name, runs)


def submit(deployment: Deployment) -> tuple[str, ...]:
    return tuple(deployment.submit() for _ in range(RUNS_PER_KILL))


def processes(deployment: Deployment, victim: str) -> list[str]:
    if victim == "replica":
        return [f"replica:{name}" for name in deployment.replicas()]
    return [victim]


def at_work(deployment: Deployment) -> set[str]:
    """The replicas that have an attempt in flight now, by the histories of the open runs."""
    busy: Counter[str] = Counter()
    for run_id in deployment.acknowledged.values():
        if deployment.reader.run(run_id).ended_at is None:
            attempts: dict[str, str] = {}
            for event in deployment.history(run_id):
                if isinstance(event.body, ev.CallDispatched):
                    attempts[event.body.call] = f"replica:{event.body.replica}"
                elif isinstance(event.body, ev.CallSucceeded | ev.CallFailed):
                    attempts.pop(event.body.call, None)
            busy.update(attempts.values())
    return set(busy)


# -- what has to hold afterwards -----------------------------------------------------------------


def of_type(events: Sequence[Event], kind: type[B]) -> list[B]:
    return [event.body for event in events if isinstance(event.body, kind)]


def assert_whole(events: Sequence[Event]) -> None:
    """Gap-free, succeeded, planned by the model as it said, and each call ended well once."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    epochs = [event.epoch for event in events]
    assert epochs == sorted(epochs)
    (end,) = of_type(events, ev.RunEnded)
    assert events[-1].body is end
    assert end.outcome == "succeeded", end.reason
    assert plan_of(events) == PLAN["worker_calls"]
    succeeded = Counter(body.call for body in of_type(events, ev.CallSucceeded))
    planned = [call["id"] for call in PLAN["worker_calls"]]
    assert succeeded == Counter(["plan-1", *planned, "synthesis-1"])
    assert sorted(body.path for body in of_type(events, ev.FilePublished)) == sorted(FILES)
    over: set[str] = set()
    for event in events:
        if isinstance(event.body, ev.CallSucceeded):
            over.add(event.body.call)
        elif isinstance(event.body, ev.CallDispatched | ev.CallFailed | ev.CallAdopted):
            assert event.body.call not in over, f"{event.body} after it had succeeded"


def assert_never_run_again(deployment: Deployment, histories: dict[str, list[Event]]) -> None:
    """By the engines' count: each attempt once at most, and none after its call had succeeded."""
    made = [made for made in deployment.invocations() if made.run in histories]
    counted = Counter((each.run, each.call, each.attempt) for each in made)
    assert [key for key, count in counted.items() if count > 1] == []
    for run_id, events in histories.items():
        for event in events:
            if not isinstance(event.body, ev.CallSucceeded):
                continue
            body = event.body
            mine = [each for each in made if (each.run, each.call) == (run_id, body.call)]
            assert counted[run_id, body.call, body.attempt] == 1
            assert max(each.attempt for each in mine) == body.attempt
            assert all(each.at <= event.at for each in mine)


def assert_published_once(deployment: Deployment, run_id: str, events: Sequence[Event]) -> None:
    """One commit for each call, the same content in history, on disk and in the database."""
    root = deployment.reader.run(run_id).workspace
    published = of_type(events, ev.FilePublished)
    form = "%(trailers:key=Familiar-Run,key=Familiar-Call,valueonly,separator=%x20)"
    commits = Counter(git(root, "log", f"--format={form}").split("\n")[:-1])
    assert commits == Counter(f"{run_id} {body.call}" for body in published)
    for body in published:
        data = (Path(root) / body.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == body.sha256
        assert git(root, "show", f"HEAD:{body.path}") == data.decode()
        assert data.decode() == deployment.reader.text(body.sha256)
        assert data.decode().startswith(f"# {body.call} of {run_id}, attempt {body.attempt}\n")
        assert body.commit in git(root, "rev-list", "HEAD")
    assert git(root, "status", "--porcelain", "--untracked-files=all") == ""
    assert sorted(os.listdir(root)) == sorted([".familiar", ".git", *FILES])


def assert_adopted(deployment: Deployment, histories: dict[str, list[Event]]) -> int:
    """How many attempts the next orchestrator took over from one that died."""
    begun = {(each.run, each.call, each.attempt): each.at for each in deployment.invocations()}
    everything = [event for events in histories.values() for event in events]
    adopted = 0
    for run_id, events in histories.items():
        sent: dict[tuple[str, int], int] = {}
        taken: dict[tuple[str, int], set[int]] = {}
        for event in events:
            body = event.body
            if isinstance(body, ev.CallDispatched):
                sent[body.call, body.attempt] = event.epoch
            elif isinstance(body, ev.CallAdopted):
                taken.setdefault((body.call, body.attempt), set()).add(event.epoch)
                adopted += 1
            elif isinstance(body, ev.CallSucceeded):
                key = body.call, body.attempt
                if sent[key] == event.epoch:
                    continue
                before = max(each.at for each in everything if each.epoch < event.epoch)
                if begun[run_id, *key] < before:
                    assert event.epoch in taken.get(key, set()), f"{run_id} {key} was not adopted"
    return adopted


@pytest.mark.parametrize(("deployment", "count"), SEEDS, indirect=["deployment"], scope="module")
@pytest.mark.parametrize("victim", ["orchestrator", "replica", "workspace"])
def test_kills_lose_nothing_and_double_nothing(
    deployment: Deployment, victim: str, count: int, tell: Callable[[str], None]
) -> None:
    started = time.monotonic()
    kills = [strike(deployment, victim, number) for number in range(count)]
    runs = [run_id for each in kills for run_id in each.runs]
    deployment.wait_ended(runs)
    histories = {run_id: deployment.history(run_id) for run_id in runs}
    seconds = time.monotonic() - started

    for run_id, events in histories.items():
        assert_whole(events)
        assert_published_once(deployment, run_id, events)
    assert_never_run_again(deployment, histories)
    adopted = assert_adopted(deployment, histories)
    known = deployment.reader.list_runs(limit=1000)
    assert {row.run_id for row in known} == set(deployment.acknowledged.values())

    attempts = [
        body for events in histories.values() for body in of_type(events, ev.CallDispatched)
    ]
    failed = [body for events in histories.values() for body in of_type(events, ev.CallFailed)]
    classes = Counter(body.failure.failure_class.value for body in failed)
    for each in kills:
        tell(f"seed {each.seed}: {each.name} at {each.where}")
    tell(
        f"{victim}: {count} kills, {len(runs)} runs, {len(attempts)} attempts, {adopted} adopted, "
        f"{dict(classes)}, {seconds:.1f} s"
    )
    JUDGES[victim](attempts, failed, adopted)


def judge_orchestrator(
    attempts: Sequence[ev.CallDispatched], failed: Sequence[ev.CallFailed], adopted: int
) -> None:
    """No replica was harmed, so no attempt may have failed, and each call has one."""
    assert failed == []
    assert {body.attempt for body in attempts} == {1}
    assert adopted > 0


def judge_replica(
    attempts: Sequence[ev.CallDispatched], failed: Sequence[ev.CallFailed], adopted: int
) -> None:
    assert {body.failure.failure_class for body in failed} == {FailureClass.BACKEND_UNREACHABLE}
    assert adopted == 0


def judge_workspace(
    attempts: Sequence[ev.CallDispatched], failed: Sequence[ev.CallFailed], adopted: int
) -> None:
    """Attempts run elsewhere: none fails, and each call has one."""
    assert failed == []
    assert {body.attempt for body in attempts} == {1}
    assert adopted == 0


JUDGES = {
    "orchestrator": judge_orchestrator,
    "replica": judge_replica,
    "workspace": judge_workspace,
}
