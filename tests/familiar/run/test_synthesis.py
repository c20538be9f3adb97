"""The versions of a run's answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar import event as ev
from familiar.call import CallKind
from familiar.errors import FailureClass
from familiar.run import synthesis
from familiar.run.command import Synthesize
from familiar.run.state import CallState, CallStatus, PublishedFile, RunState
from tests.familiar.run.simulation import Simulation, limits

FINAL = Synthesize(2, "final", "synthesis-2")


def state(*, made: Sequence[str] = ("index.html",), wanted: Sequence[str] = ()) -> RunState:
    known = RunState("r", wanted=tuple(wanted))
    calls: list[tuple[str, CallKind]] = [
        *((f"make-{path}", "worker") for path in made),
        ("synthesis-2", "synthesis"),
    ]
    for name, kind in calls:
        planned = ev.PlannedCall(id=name, alias="a", prompt="", output_file="x")
        known.calls[name] = CallState(planned, kind, 1, status=CallStatus.DONE)
    known.calls["synthesis-2"].prompt_name = "synthesis/final"
    for path in made:
        known.files[path] = PublishedFile(f"make-{path}", ev.text_ref(path), "c0ffee")
    return known


def weigh(known: RunState, said: str | None) -> list[synthesis.Candidate]:
    return list(synthesis.candidates(known, FINAL, said))


class TestAdoption:
    @pytest.mark.parametrize(
        "said",
        [
            "The page is done; begin with index.html.",
            "See `INDEX.HTML`, version 1.2.",
            "A text about e.g. bread, and nothing more...",
        ],
    )
    def test_a_models_version_that_names_what_is_there_is_adopted(self, said: str) -> None:
        (only,) = weigh(state(), said)
        assert (only.source, only.doubt, only.text) == ("model", "", said)
        assert only.prompt_name == "synthesis/final"

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ("  \n", "empty"),
            ("I made index.html and contact.html.", "contact.html"),
            ("See pages/index.html/about.html", "about.html"),
        ],
    )
    def test_otherwise_the_listing_is_and_both_are_kept(self, said: str, why: str) -> None:
        model, rules = weigh(state(), said)
        assert why in model.doubt
        assert (model.source, rules.source, rules.doubt) == ("model", "rules", "")
        assert why in rules.reason
        assert "index.html" in rules.text

    def test_a_missing_file_may_be_named_while_the_run_goes_on(self) -> None:
        known = state(wanted=["index.html", "about.html"])
        assert synthesis.problem("about.html is missing", known, "partial") == ""
        assert synthesis.problem("about.html is there", known, "final") != ""

    def test_a_failed_synthesis_call_leaves_the_listing_and_its_reason(self) -> None:
        known = state()
        known.calls["synthesis-2"].failures = [FailureClass.QUEUE_TIMEOUT]
        (only,) = weigh(known, None)
        assert only.source == "rules"
        assert "queue_timeout" in only.reason

    def test_the_listing_has_what_is_there_and_what_is_missing(self) -> None:
        text = synthesis.listing(state(wanted=["index.html", "about.html"]))
        assert "index.html: made by call make-index.html" in text
        assert text.index("What is missing:") < text.index("about.html")


class TestVersions:
    def test_they_are_numbered_and_carry_the_diff_to_the_one_before(self) -> None:
        known = state()
        first, second = synthesis.versions(
            synthesis.candidates(known, FINAL, ""),
            FINAL,
            synthesis.inputs(known),
            last=4,
            last_text="What was made:\n- old.html",
        )
        assert (first.body.version, first.body.previous, first.body.adopted) == (5, 4, False)
        assert (second.body.version, second.body.previous, second.body.adopted) == (6, 5, True)
        assert second.body.inputs == ("make-index.html",)
        assert first.body.diff is not None
        difference = first.texts[first.body.diff.sha256]
        assert difference.splitlines()[:2] == ["--- version 4", "+++ version 5"]
        assert "-- old.html" in difference
        assert set(second.texts) >= {second.body.text.sha256}

    def test_the_first_has_nothing_to_differ_from(self) -> None:
        (only,) = synthesis.versions(weigh(state(), None), FINAL, (), last=0, last_text=None)
        assert (only.body.version, only.body.previous, only.body.diff) == (1, None, None)

    @given(before=st.text(max_size=40), after=st.text(max_size=40))
    def test_a_diff_is_empty_only_for_the_same_lines(self, before: str, after: str) -> None:
        same = before.splitlines() == after.splitlines()
        assert (synthesis.unified_diff(before, after, 1, 2) == "") == same


class TestRuns:
    @pytest.mark.parametrize("partial", ["rules", "model", "none"])
    def test_a_turn_that_another_follows_leaves_a_partial_version(self, partial: str) -> None:
        several = 0
        for seed in range(60):
            sim = Simulation(seed=seed, trouble=0.2, limits=limits(partial_synthesis=partial))
            sim.run()
            known = sim.machine.state
            followed = {turn.number for turn in known.turns[:-1]}
            adopted = {made.turn for made in known.syntheses if made.adopted}
            several += bool(followed)
            assert (followed <= adopted) == (partial != "none" or not followed)
            asked = [name for name in known.calls if name.startswith("partial-")]
            assert not asked or partial == "model"
        assert several > 5

    @given(seed=st.integers(0, 10**6), trouble=st.floats(0, 0.6))
    @settings(max_examples=50, deadline=None)
    def test_versions_count_up_and_a_success_ends_with_an_adopted_final_one(
        self, seed: int, trouble: float
    ) -> None:
        sim = Simulation(seed=seed, trouble=trouble, limits=limits(partial_synthesis="model"))
        end = sim.run()
        made = sim.machine.state.syntheses
        assert [version.version for version in made] == list(range(1, len(made) + 1))
        if end.outcome == "succeeded":
            assert (made[-1].kind, made[-1].adopted) == ("final", True)
