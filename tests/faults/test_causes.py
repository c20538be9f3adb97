"""Every injected fault is explained by its own cause, first; no two causes can change places."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

import pytest

from actors.store.queries import Reader
from cluster.local import LocalCluster
from familiar.event import CallDispatched, Event
from familiar.explain import explain as diagnosis
from familiar.explain.cause import Cause
from familiar.explain.explain import (
    ATTEMPT_RULES,
    RUN_RULES,
    AttemptRule,
    RunRule,
    explain,
)
from familiar.explain.explanation import Explanation, Finding
from familiar.explain.rules.finding import Reading
from tests.actors.deployment import Deployment, deployed, store_url, wait_for
from tests.cluster.second_node import second_node
from tests.faults.deployments import FAR, budgets_config, faults_config
from tests.faults.injected import EXPECTED, FAULTS

pytestmark = pytest.mark.ray

Found = TypeVar("Found", Finding, Reading)
NAMES = tuple(fault.name for fault in FAULTS)


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.soak]),
    ],
)
def histories(
    request: pytest.FixtureRequest,
    shared_ray: LocalCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, list[Event]]]:
    """The history of one run for each fault, all of them worked on side by side."""
    folder = tmp_path_factory.mktemp("faults")
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(second_node(shared_ray, {"place": FAR}))
        urls = [store_url(request, folder, name) for name in ("budgets", "faults")]
        tight = stack.enter_context(deployed(budgets_config(folder, urls[0]), folder))
        usual = stack.enter_context(deployed(faults_config(folder, urls[1]), folder))
        runs = {
            fault.name: (tight if fault.budgets else usual).submit(fault.goal, fault.files)
            for fault in FAULTS
        }
        wait_for(lambda: is_sent(usual.reader, runs["node"]), "the call on the second node")
        node.kill()
        found: dict[str, list[Event]] = {}
        for fault in FAULTS:
            deployment: Deployment = tight if fault.budgets else usual
            deployment.wait_ended([runs[fault.name]])
            found[fault.name] = deployment.history(runs[fault.name])
        yield found


def is_sent(reader: Reader, run_id: str) -> bool:
    bodies = (event.body for event in reader.events(run_id))
    return any(isinstance(body, CallDispatched) and body.kind == "worker" for body in bodies)


def test_there_are_enough_faults_and_each_has_a_cause_of_its_own() -> None:
    assert set(EXPECTED) == set(NAMES)
    assert len(EXPECTED) >= 15
    assert len(set(EXPECTED.values())) == len(EXPECTED)


@pytest.mark.parametrize("name", NAMES)
def test_the_injected_cause_is_named_first(histories: Mapping[str, list[Event]], name: str) -> None:
    found = explain(histories[name])
    assert found.cause is EXPECTED[name], shown(found)


@pytest.mark.parametrize("name", NAMES)
def test_the_cause_is_proved_by_events_of_the_run(
    histories: Mapping[str, list[Event]], name: str
) -> None:
    found = explain(histories[name])
    chief = found.causes[0]
    cited = [seq for evidence in chief.evidence for seq in evidence.events]
    assert cited
    assert all(1 <= seq <= len(histories[name]) for seq in cited)
    assert chief.change


def test_an_oversized_call_is_proved_by_what_was_ruled_out(
    histories: Mapping[str, list[Event]],
) -> None:
    chief = explain(histories["oversized"]).causes[0]
    ruled_out = {excluded.cause for excluded in chief.ruled_out}
    assert {Cause.BACKEND_UNREACHABLE, Cause.BACKEND_STALLED, Cause.QUEUE_TIMEOUT} <= ruled_out


@pytest.mark.parametrize("pair", list(itertools.combinations(sorted(EXPECTED), 2)), ids="-".join)
def test_two_causes_that_change_places_are_noticed(
    histories: Mapping[str, list[Event]], pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect is made on purpose: every rule gives one cause where it should give the other."""
    one, other = (EXPECTED[name] for name in pair)
    exchange = {one: other, other: one}

    def mistaken(found: Found | None) -> Found | None:
        if found is None:
            return None
        return replace(found, cause=exchange.get(found.cause, found.cause))

    def of_attempt(rule: AttemptRule) -> AttemptRule:
        return lambda story, attempt: mistaken(rule(story, attempt))

    def of_run(rule: RunRule) -> RunRule:
        return lambda story: filter(None, map(mistaken, rule(story)))

    monkeypatch.setattr(diagnosis, "ATTEMPT_RULES", tuple(map(of_attempt, ATTEMPT_RULES)))
    monkeypatch.setattr(diagnosis, "RUN_RULES", tuple(map(of_run, RUN_RULES)))
    found = {name: explain(histories[name]).cause for name in pair}
    assert found != {name: EXPECTED[name] for name in pair}


def shown(found: Explanation) -> str:
    lines = [found.symptom]
    for cause in found.causes[:3]:
        lines.append(f"{cause.cause} {cause.likelihood} {cause.decisive}: {cause.says}")
        lines += [f"   {e.says} {e.events}" for e in cause.evidence]
    return "\n".join(lines)
