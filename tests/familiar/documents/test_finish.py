"""What the model wrote becomes the file that was asked for, or an error; nothing is guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from familiar import documents
from familiar.call import DocumentSpec
from familiar.errors import WireError


@pytest.mark.parametrize("kind", ["raw", "document", "html-page", "html-contract", "markdown"])
@pytest.mark.parametrize("raw", ["", " \n\t "])
def test_nothing_is_not_a_document_of_any_kind(kind: str, raw: str) -> None:
    with pytest.raises(WireError):
        documents.finish(raw, DocumentSpec(kind))


@pytest.mark.parametrize("raw", ["text", "```\nfenced\n```", "  spaces kept \n\n"])
def test_raw_is_kept_as_it_is(raw: str) -> None:
    finished = documents.finish(raw, DocumentSpec("raw"))
    assert (finished.text, finished.repairs) == (raw, ())


def test_a_document_is_taken_out_of_its_fence_and_that_is_told() -> None:
    finished = documents.finish("```python\nprint(1)\n```\n", DocumentSpec("document"), "a.py")
    assert finished.text == "print(1)\n"
    assert finished.repairs
    plain = documents.finish("print(1)\n", DocumentSpec("document"), "a.py")
    assert (plain.text, plain.repairs) == ("print(1)\n", ())


PAGE = DocumentSpec("html-page", prefix="<main>\n", suffix="\n</main>\n")


def test_a_good_slot_is_spliced_as_it_is() -> None:
    finished = documents.finish("<h1>Hours</h1>\n<p>Nine to five.</p>", PAGE, "info.html")
    assert finished.text == "<main>\n<h1>Hours</h1>\n<p>Nine to five.</p>\n</main>\n"
    assert finished.repairs == ()


def test_a_whole_document_with_open_tags_becomes_a_slot_and_no_word_changes() -> None:
    raw = "```html\n<html><body><header>Ours</header><h1>Hours<p>Nine</p></body></html>\n```"
    finished = documents.finish(raw, PAGE, "info.html")
    assert finished.text == "<main>\n<h1>Hours<p>Nine</p></h1>\n</main>\n"
    assert len(finished.repairs) >= 3


@pytest.mark.parametrize("missing", ["pricing-table", "modal", "listing"])
def test_a_page_without_what_it_must_hold_is_rejected(missing: str) -> None:
    spec = replace(PAGE, requires=(missing,))
    with pytest.raises(WireError, match="needs"):
        documents.finish("<h1>Hours</h1>", spec, "info.html")


def test_a_contract_must_parse() -> None:
    good = (
        '<header data-palette="blue"><p>Bright</p><p>A smile</p></header>'
        "<footer><p>2026</p></footer>"
    )
    assert documents.finish(good, DocumentSpec("html-contract"), "contract.html").text == good
    with pytest.raises(WireError):
        documents.finish("<p>Hello</p>", DocumentSpec("html-contract"), "contract.html")
