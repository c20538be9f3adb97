"""An outline says what is in an artifact, briefly, for any text at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.context.artifact import MAX_ENTRIES, MAX_ENTRY_CHARS, outline


def test_a_page_shows_its_headings_and_named_sections() -> None:
    page = (
        "<title>Dr. Bright</title><body><h1>Our <em>services</em></h1>"
        '<section id="prices"><h2>Prices\n per visit</h2></section><h4>too deep</h4>'
    )
    assert outline("services.html", page) == (
        "title Dr. Bright",
        "h1 Our services",
        "section #prices",
        "h2 Prices per visit",
    )


def test_markdown_shows_headings_outside_of_fences() -> None:
    text = "# Clinic\n\n```sh\n# not a heading\n```\n\n## Run it\n"
    assert outline("README.md", text) == ("# Clinic", "## Run it")


def test_source_code_shows_what_is_defined_at_the_top() -> None:
    text = (
        "import os\n\nclass Cart(Base):\n    def add(self): ...\n\nasync def pay(x: int) -> str:\n"
    )
    assert outline("shop.py", text) == ("class Cart(Base)", "async def pay(x: int) -> str")


@pytest.mark.parametrize(
    ("path", "text", "entry"),
    [
        ("data.json", '{\n  "rooms": [\n    {"deep": 1}\n  ],\n  "hours": 3\n}', "hours"),
        ("app.toml", "[server]\nport = 1\n", "[server]"),
        ("site.css", ".hero {\n  color: red;\n}\nnav a {\n}\n", "nav a"),
        ("db.sql", "CREATE TABLE visits (\n id int\n);", "CREATE TABLE visits"),
        ("notes.txt", "\n\nFirst words.\nSecond.", "First words."),
        ("no-ending", "Just this.", "Just this."),
        ("page.html", "no heading here", "no heading here"),
    ],
)
def test_other_kinds_of_files(path: str, text: str, entry: str) -> None:
    assert entry in outline(path, text)


def test_what_does_not_fit_is_marked() -> None:
    found = outline("a.md", "\n".join(f"# Heading {n}" for n in range(40)))
    assert len(found) == MAX_ENTRIES
    assert found[-1] == "…"


@given(
    st.sampled_from(["a.html", "a.md", "a.py", "a.json", "a.toml", "a.css", "a.sql", "a"]),
    st.text(max_size=2_000) | st.text(alphabet="<>/h1 #\"'{}[]:=\ndef", max_size=2_000),
)
def test_every_text_has_a_bounded_outline(path: str, text: str) -> None:
    found = outline(path, text)
    assert len(found) <= MAX_ENTRIES
    assert all(0 < len(entry) <= MAX_ENTRY_CHARS and "\n" not in entry for entry in found)
