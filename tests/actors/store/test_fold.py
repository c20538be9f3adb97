"""A run folds the same however its events were written, read back, or cut off by a crash."""

from __future__ import annotations

import random
from dataclasses import fields

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.store.store import Store
from familiar.event import Event
from familiar.run.machine import RunMachine
from familiar.run.state import RunState
from tests.actors.store.conftest import NewUrl
from tests.familiar.run.simulation import Simulation, limits


def observable(state: RunState) -> dict[str, object]:
    return {field.name: getattr(state, field.name) for field in fields(state)}


def fold(sim: Simulation, events: list[Event]) -> RunMachine:
    machine = RunMachine("r")
    for event in events:
        machine.apply(event)
    return machine


@given(seed=st.integers(0, 10**6), trouble=st.floats(0, 0.6), sizes=st.integers(0, 10**6))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_history_folds_the_same_in_any_batches_and_from_the_database(
    new_url: NewUrl, seed: int, trouble: float, sizes: int
) -> None:
    sim = Simulation(seed=seed, trouble=trouble, limits=limits(partial_synthesis="model"))
    sim.run()
    dice = random.Random(sizes)
    url = new_url()
    store = Store.open(url, create=True)
    epoch = store.take_epoch()
    at = 0
    while at < len(sim.history):
        size = dice.randint(1, 40)
        batch = sim.history[at : at + size]
        store.append([Event("r", e.seq, epoch, e.at, e.body) for e in batch], {})
        at += size
        if dice.random() < 0.2:  # the writer dies here, and another one goes on
            store.close()
            store = Store.open(url, create=False)
            epoch = store.take_epoch()
            read = list(store.events("r"))
            assert [event.body for event in read] == [e.body for e in sim.history[:at]]
            told = fold(sim, sim.history[:at]).state
            assert observable(fold(sim, read).state) == observable(told)
    assert observable(fold(sim, list(store.events("r"))).state) == observable(sim.machine.state)
    store.close()
