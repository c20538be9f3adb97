"""One document is taken out of an answer; inside it not one character changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.documents.single import extract_document
from familiar.errors import WireError

PAGE = "<!DOCTYPE html>\n<html><body><p>Hello</p></body></html>\n"
CODE = "def f():\n    return 1\n"


@pytest.mark.parametrize(
    "answer",
    [
        f"```html\n{PAGE}```\n",
        f"Here is the page:\n\n```html\n{PAGE}```\n",
        f"Here is the page:\n\n```html\n{PAGE}```\n\nI hope this helps!",
        f"```\n{PAGE}```",
        f"Sure!\n{PAGE}\nLet me know.",
        f"```html\n{PAGE}",
    ],
)
def test_fence_and_chatter_go_and_the_page_stays(answer: str) -> None:
    text, repairs = extract_document(answer, "index.html")
    assert text == PAGE
    assert repairs


@pytest.mark.parametrize("file", ["index.html", "a.py", "README.md", "data.json"])
def test_a_plain_document_is_not_touched(file: str) -> None:
    text = PAGE if file.endswith("html") else CODE
    assert extract_document(text, file) == (text, ())


def test_a_markdown_file_keeps_its_own_fences() -> None:
    readme = "# Title\n\nRun it:\n\n```sh\nmake demo\n```\n\nThen look.\n"
    assert extract_document(readme, "README.md") == (readme, ())
    wrapped = f"```markdown\n{readme}```\n"
    assert extract_document(wrapped, "README.md")[0] == readme


def test_code_around_a_fence_is_not_chatter() -> None:
    text = "x = 1\n" * 50 + "```\ny = 2\n```\n" + "z = 3\n" * 50
    assert extract_document(text, "a.py") == (text, ())


BODIES = st.text(st.characters(codec="utf-8", exclude_characters="`\r"), min_size=1, max_size=200)


@given(BODIES.filter(lambda body: "\n" not in body or body.isprintable()).filter(str.strip))
def test_what_is_inside_a_fence_comes_out_as_it_was(body: str) -> None:
    document = body + "\n"
    assert extract_document(f"```\n{document}```\n", "notes.txt")[0] == document


@given(st.text(max_size=300), st.sampled_from(["a.html", "a.md", "a.py", "a.json"]))
def test_the_result_is_always_a_part_of_the_answer(text: str, file: str) -> None:
    try:
        document, _ = extract_document(text, file)
    except WireError:
        return
    assert document.strip() in text
