"""What a prompt asks for is counted, and becomes an expected length by a stated formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.event import PlannedCall
from familiar.goal import Goal, read_goal
from familiar.plan.asks import read_asks
from familiar.plan.estimate import CAPPED, TOKENS_PER, Estimate, estimate_output


def of(prompt: str, file: str | None = None, goal: Goal | None = None) -> Estimate:
    return estimate_output(PlannedCall(id="c", alias="a", prompt=prompt, output_file=file), goal)


class TestAsks:
    @pytest.mark.parametrize(
        ("prompt", "unit", "count", "capped"),
        [
            ("Write about 200 words.", "word", 200, False),
            ("A 1,500-word essay on tea.", "word", 1_500, False),
            ("Explain it in 300 to 500 words.", "word", 400, False),
            ("At most 80 lines.", "line", 80, True),
            ("Keep it under 2000 characters.", "character", 2_000, True),
            ("Two sentences.", "sentence", 2, False),
            ("Six pages of 300 words each.", "word", 1_800, False),
            ("Write five sections, each with 100 words.", "word", 500, False),
        ],
    )
    def test_lengths(self, prompt: str, unit: str, count: int, capped: bool) -> None:
        length = read_asks(prompt).length
        assert length is not None
        assert (length.unit, length.count, length.capped) == (unit, count, capped)

    @pytest.mark.parametrize(
        ("prompt", "parts"),
        [
            ("Write ten short sections and 3 tables.", {"section": 10, "table": 3}),
            ("A module with 4 functions and two classes.", {"function": 4, "class": 2}),
            ("Have the sections: Install, Use, License and FAQ.", {"section": 4}),
            ("Sections Install, Use and License.", {"section": 3}),
            ("Cover:\n- hours\n- prices\n- doctors", {"point": 3}),
            ("Write index.html.", {}),
            ("Create a six-page site for a clinic.", {"page": 6}),
            ("In 2024 the clinic had 3 floors; version 1.2 sections", {}),
        ],
    )
    def test_parts(self, prompt: str, parts: dict[str, int]) -> None:
        assert read_asks(prompt).parts == parts

    @pytest.mark.parametrize(
        "prompt",
        [
            "Review the six pages against the goal.",
            "Check all 12 functions for errors.",
            "Summarise these ten sections.",
            "Write about.html, one page of a six-page clinic site.",
            "Write about.html for the dental clinic's 6 pages.",
            "Write index.html with a navigation to the six pages.",
        ],
    )
    def test_what_is_read_is_not_what_is_written(self, prompt: str) -> None:
        assert read_asks(prompt).parts == {}

    def test_files_that_are_to_be_made_and_not_those_that_are_referred_to(self) -> None:
        asks = read_asks(
            "Write index.html and about.html. Link to contact.html, using site.css.\n"
            "Using the shared footer, create more.html that matches old.html.\n"
            "Also create these:\n- a.py\n- b.py\n\nRead notes.md first."
        )
        assert asks.files == ("index.html", "about.html", "more.html", "a.py", "b.py")

    @given(st.text(max_size=400))
    def test_any_text_is_read(self, prompt: str) -> None:
        asks = read_asks(prompt)
        assert all(count > 0 or part for part, count in asks.parts.items())


class TestEstimates:
    def test_an_explicit_length_decides(self) -> None:
        found = of("Write 400 words in ten sections.", "a.md")
        assert found.tokens == round(400 * TOKENS_PER["md"]["word"])
        assert 0 < found.at_least < found.tokens
        assert "400 words" in found.why

    def test_a_cap_is_not_used_up(self) -> None:
        capped, open_ = of("At most 400 words.", "a.md"), of("About 400 words.", "a.md")
        assert capped.tokens == pytest.approx(CAPPED * open_.tokens, abs=1)
        assert capped.at_least < open_.at_least

    def test_several_files_in_one_call_are_summed(self) -> None:
        one = of("Write index.html.", "index.html")
        six = of(
            "Write the site: index.html, services.html, doctors.html, info.html, visit.html and "
            "access.html, with a shared header.",
            "index.html",
        )
        assert six.tokens == 6 * one.tokens
        assert one.at_least == 0
        assert six.at_least > 3 * one.tokens
        assert "6 files" in six.why

    def test_the_goal_is_asked_where_the_prompt_says_nothing(self) -> None:
        goal = Goal("Make:\n- `a.md`: 900 words on tea\n- `aa.md`: 20 words", ("a.md", "aa.md"))
        assert "900 words" in of("Write a.md.", "a.md", goal).why
        assert "100 words" in of("Write 100 words.", "a.md", goal).why

    def test_a_prompt_that_says_nothing_gets_the_usual_length_and_is_sure_of_none(self) -> None:
        for file in ("a.html", "a.md", "a.py", "a.yaml", "a.txt", "a.bin", None):
            found = of("Do it.", file)
            assert found.tokens > 0
            assert found.at_least == 0

    @given(
        st.integers(1, 200),
        st.integers(1, 50),
        st.sampled_from(["sections", "paragraphs", "items", "functions", "pages", "words"]),
        st.sampled_from(["a.html", "a.md", "a.py", "a.txt", None]),
    )
    def test_asking_for_more_never_means_less(
        self, count: int, more: int, unit: str, file: str | None
    ) -> None:
        less = of(f"Write it with {count} {unit}.", file)
        longer = of(f"Write it with {count + more} {unit}.", file)
        assert longer.tokens >= less.tokens
        assert longer.at_least >= less.at_least


@pytest.mark.parametrize(
    "piece", ["one ", "6 - 8 ", "a/", "write a.html. ", "- x\n", "sections: a, ", "each 2 words "]
)
def test_the_work_grows_with_the_text_and_not_with_its_square(piece: str) -> None:
    """Two hundred thousand characters are the most a prompt may have; a quadratic scan would
    run into the time limit of the suite."""
    assert read_asks(piece * (200_000 // len(piece))) is not None


def test_other_files_that_the_goal_speaks_of_beside_this_one_are_not_this_call_s() -> None:
    goal = read_goal("Write `one.md`, `two.md`, `three.md` and `four.md`.", max_bytes=1000)
    one = PlannedCall(id="one", alias="naughty", prompt="Write one.md.", output_file="one.md")
    assert estimate_output(one, goal).at_least == 0
