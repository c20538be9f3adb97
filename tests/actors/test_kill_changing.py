"""kill -9 of each process while the configuration changes: every run ends, nothing finished runs
again.

Each round is drawn from its seed: runs are submitted, the deployment is brought up from a changed
configuration, and a process is killed at some moment of that. Nobody waits for the runs before
the next round.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.local import LocalCluster
from familiar import event as ev
from familiar.config.schema import Config
from familiar.event import Event
from tests.actors.deployment import (
    Deployment,
    deployed,
    scripted_config,
    store_url,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3600)]

VICTIMS = ("orchestrator", "replica:near:0", "replica:near:1", "replica:far:0", "workspace")
RUNS = 2
WITHIN_S = 4.0
"""A redeployment takes some seconds; the process dies within so many of its beginning."""

Settings = dict[str, Any]


def less_attempts(settings: Settings) -> None:
    settings["budgets"]["attempts"] = 8


def no_synthesis(settings: Settings) -> None:
    settings["orchestrator"]["synthesis"] = False


def other_engine(settings: Settings) -> None:
    settings["pools"]["near"]["engine_args"]["script"]["rates"]["tokens_per_s"] = 80


def one_replica(settings: Settings) -> None:
    settings["pools"]["near"]["replicas"] = [{"cores": [0]}]


def less_slots(settings: Settings) -> None:
    for name in settings["pools"].keys() & {"far", "away"}:
        settings["pools"][name]["slots"] = 4


def no_grandpa(settings: Settings) -> None:
    del settings["aliases"]["grandpa"]


def renamed_pool(settings: Settings) -> None:
    settings["pools"]["away"] = settings["pools"].pop("far")
    for alias in settings["aliases"].values():
        if alias["pool"] == "far":
            alias["pool"] = "away"


CHANGES: tuple[Callable[[Settings], None], ...] = (
    less_attempts,
    no_synthesis,
    other_engine,
    one_replica,
    less_slots,
    no_grandpa,
    renamed_pool,
)


def changed(usual: Config, draw: random.Random) -> tuple[Config, list[str]]:
    """A configuration with one change or two, and the names of those."""
    settings = usual.model_dump(mode="json")
    changes = draw.sample(CHANGES, draw.randint(1, 2))
    for change in changes:
        change(settings)
    return Config.model_validate(settings), [change.__name__ for change in changes]


@pytest.fixture
def deployment(
    request: pytest.FixtureRequest, shared_ray: LocalCluster, tmp_path: Path
) -> Iterator[Deployment]:
    config = scripted_config(tmp_path, store={"url": store_url(request, tmp_path)})
    with deployed(config, tmp_path) as made:
        yield made


def kill_while_changing(deployment: Deployment, usual: Config, seed: int) -> str:
    """One round; a line that says what was done."""
    draw = random.Random(seed)
    known = [name for name in VICTIMS if is_there(deployment, name)]
    victim = draw.choice(known)
    process = psutil.Process(deployment.pid(victim))
    for _ in range(RUNS):
        deployment.submit()
    config, names = changed(usual, draw)
    time.sleep(draw.uniform(0.0, 1.0))
    after = draw.uniform(0.0, WITHIN_S)
    struck = threading.Event()

    def strike() -> None:
        time.sleep(after)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()  # not one that got its pid since
            struck.set()

    killer = threading.Thread(target=strike)
    killer.start()
    deployment.redeploy(config)
    killer.join()
    hit = f"after {after:.1f} s" if struck.is_set() else "replaced before"
    return f"seed {seed}: {victim} ({hit}), {' and '.join(names)}"


def is_there(deployment: Deployment, name: str) -> bool:
    with contextlib.suppress(ValueError):
        deployment.actor(name)
        return True
    return False


def assert_nothing_ran_again(deployment: Deployment, histories: dict[str, list[Event]]) -> None:
    """By the engines' own count and by the histories. An attempt that was cut off with a replica
    which the new configuration replaced may begin again with its key; one that ended may not."""
    made = deployment.invocations()
    for run_id, events in histories.items():
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        over: dict[str, float] = {}
        ended: dict[tuple[str, int], float] = {}
        for event in events:
            body = event.body
            if isinstance(body, ev.CallDispatched | ev.CallSucceeded):
                assert body.call not in over, f"{run_id}: {body} after it had succeeded"
            if isinstance(body, ev.CallSucceeded):
                over[body.call] = event.at
            if isinstance(body, ev.PlanRejected):
                # The plan may name a role that the new configuration does not have.
                over.pop(f"plan-{body.turn}", None)
            if isinstance(body, ev.CallSucceeded | ev.CallFailed):
                ended[body.call, body.attempt] = event.at
        never = float("inf")
        late = [
            each
            for each in made
            if each.run == run_id
            and each.at
            > min(over.get(each.call, never), ended.get((each.call, each.attempt), never))
        ]
        assert late == []


@pytest.mark.parametrize(
    ("deployment", "rounds"),
    [
        ("sqlite", 3),
        pytest.param("sqlite", 50, marks=pytest.mark.soak),
        pytest.param("postgresql", 50, marks=[pytest.mark.postgres, pytest.mark.soak]),
    ],
    indirect=["deployment"],
)
def test_kills_while_the_configuration_changes(
    deployment: Deployment, rounds: int, tell: Callable[[str], None]
) -> None:
    began, usual = time.monotonic(), deployment.config
    for seed in range(rounds):
        tell(kill_while_changing(deployment, usual, seed))
    runs = list(deployment.acknowledged.values())
    deployment.wait_ended(runs)
    histories = {run_id: deployment.history(run_id) for run_id in runs}
    assert_nothing_ran_again(deployment, histories)
    known = {row.run_id for row in deployment.reader.list_runs(limit=1000)}
    assert known == set(runs)
    ends = Counter(deployment.reader.run(run_id).status for run_id in runs)
    bodies = [event.body for events in histories.values() for event in events]
    failed = Counter(
        body.failure.failure_class.value for body in bodies if isinstance(body, ev.CallFailed)
    )
    adopted = sum(isinstance(body, ev.CallAdopted) for body in bodies)
    attempts = sum(isinstance(body, ev.CallDispatched) for body in bodies)
    tell(
        f"{rounds} kills, {len(runs)} runs {dict(ends)}, {attempts} attempts, {adopted} adopted, "
        f"failed {dict(failed)}, {time.monotonic() - began:.0f} s"
    )
    assert "internal" not in failed
