"""A configuration that changes never changes the meaning of a history."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar import event as ev
from familiar.limits import RunLimits
from familiar.run.machine import RunMachine
from familiar.run.upcast import limits_to_note, recorded_limits, upcast
from tests.familiar.run.histories import (
    CHANGED,
    RECORDED,
    as_before,
    folded,
    noted,
    observable,
    recorded,
    recorded_with,
)
from tests.familiar.run.simulation import PRICES, TIGHT, Simulation, limits

HELD = [
    limits(),
    limits(synthesis=False),
    limits(partial_synthesis="model"),
    limits(plan_tries=1, rules_planner=False),
    *TIGHT.values(),
]


@given(
    seed=st.integers(0, 10**6),
    trouble=st.floats(0, 0.7),
    held=st.sampled_from(HELD),
    changed=st.sampled_from(list(CHANGED)),
)
@settings(max_examples=25, deadline=None)
def test_every_prefix_folds_to_the_same_state_whatever_was_changed(
    seed: int, trouble: float, held: RunLimits, changed: str
) -> None:
    sim = Simulation(seed=seed, trouble=trouble, limits=held)
    sim.run()
    old = as_before(sim.history)
    live = RunMachine("r")
    for event in sim.history:
        live.apply(event)
        if event.seq % 3 == seed % 3 or live.state.ended:
            state = observable(live.state)
            prefix = sim.history[: event.seq]
            assert observable(folded(prefix, CHANGED[changed]).state) == state
            # A history of an earlier version, which got its limits at this point.
            after = observable(folded(noted(old[: event.seq], held), CHANGED[changed]).state)
            late = int(live.state.ended is not None)
            assert after == state | {"seq": event.seq + 1, "late_facts": late}


class TestNote:
    def test_an_open_history_without_limits_gets_them_once(self) -> None:
        sim = Simulation(seed=0)
        sim.step()
        old = as_before(sim.history)
        assert recorded_limits(old) is None
        note = limits_to_note(old, limits(turns=7))
        assert note == ev.RunLimitsNoted(limits=limits(turns=7))
        assert limits_to_note(noted(old, note.limits), limits(turns=9)) is None
        assert folded(noted(old, note.limits), limits(turns=9)).limits.turns == 7

    def test_the_first_note_holds(self) -> None:
        old = as_before(Simulation(seed=0).history)
        twice = noted(noted(old, limits(turns=7)), limits(turns=9))
        assert folded(twice, limits()).limits.turns == 7

    def test_a_new_history_and_one_that_has_ended_get_none(self) -> None:
        sim = Simulation(seed=0, trouble=0.0)
        assert limits_to_note(sim.history, limits()) is None
        sim.run()
        assert limits_to_note(as_before(sim.history), limits()) is None
        assert limits_to_note([], limits()) is None

    def test_the_limits_survive_the_row(self) -> None:
        held = limits(money=0.5, prices=PRICES, soft=0.5)
        event = ev.Event("r", 2, 1, 0.0, ev.RunLimitsNoted(limits=held))
        assert ev.event_from_row("r", 2, 1, 0.0, event.body_json()) == event

    def test_every_limit_is_changed_by_these_tests(self) -> None:
        """A new setting is found by its type, or this fails."""
        for name in RunLimits.model_fields.keys() - {"version"}:
            held = getattr(limits(), name)
            assert any(getattr(changed, name) != held for changed in CHANGED.values()), name
        assert {c.partial_synthesis for c in CHANGED.values()} == {
            "rules",
            "model",
            "none",
        }


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
class TestRecorded:
    """Histories of an earlier version, with the limits that they were recorded with."""

    def test_it_folds_to_its_end(self, path: Path) -> None:
        for history in recorded(path):
            state = folded(history, recorded_with(path)).state
            last = history[-1].body
            if isinstance(last, ev.RunEnded):
                assert state.ended == last

    def test_every_prefix_folds_the_same_under_every_changed_setting(self, path: Path) -> None:
        for history in recorded(path):
            held = recorded_limits(history) or recorded_with(path)
            for length in range(1, len(history) + 1):
                prefix = noted(history[:length], held)
                for changed in CHANGED.values():
                    first = next(upcast(prefix, changed))
                    assert recorded_limits([first]) == held
            whole = noted(history, held)
            for changed in CHANGED.values():
                one, other = RunMachine(whole[0].run_id), RunMachine(whole[0].run_id)
                for event, same in zip(upcast(whole, held), upcast(whole, changed), strict=True):
                    assert one.apply(event) == other.apply(same)
                    assert observable(one.state) == observable(other.state)
