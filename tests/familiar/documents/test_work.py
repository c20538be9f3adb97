"""The work for a document is bounded: a hostile text takes steps in proportion to its length."""

from __future__ import annotations

import contextlib
import random
from functools import partial

import pytest

from familiar import documents
from familiar.call import DocumentSpec
from familiar.documents.fences import MAX_FENCES
from familiar.errors import WireError
from tests.familiar.floods import growth, steps

KINDS = [
    ("document", "a.py"),
    ("document", "a.md"),
    ("document", "a.html"),
    ("html-page", "a.html"),
    ("html-contract", "a.html"),
]


def finished(kind: str, file: str, text: str) -> None:
    with contextlib.suppress(WireError):
        documents.finish(text, DocumentSpec(kind), file)


def test_twice_the_text_takes_twice_the_steps() -> None:
    draw = random.Random(5)
    for found in growth(4_000, 60, draw, lambda: partial(finished, *draw.choice(KINDS))):
        assert found.linear, found


@pytest.mark.parametrize("mark", ["```\n", "~~~md\n", "````\nx\n"])
@pytest.mark.parametrize("file", ["a.py", "a.md", "a.html"])
def test_more_fences_than_a_file_has_are_not_counted_to_the_end(mark: str, file: str) -> None:
    few = steps(partial(finished, "document", file, mark * (MAX_FENCES + 10)))
    many = steps(partial(finished, "document", file, mark * (20 * MAX_FENCES)))
    assert many <= 1.05 * few
