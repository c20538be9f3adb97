"""What the output grammars allow: bounded, well-formed, and no visible word of the harness's own.

A walk through the grammar with random choices stands in for a model; the real one is asked in
`tests/actors/engines/test_vllm.py`.
"""

from __future__ import annotations

import random
import re

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familiar.documents.html.contract import parse_contract
from familiar.documents.html.grammar import contract_grammar, markdown_grammar, page_grammar
from familiar.documents.html.parts import requirements_for
from tests.familiar.documents.grammar_walk import literals, walk
from tests.familiar.documents.slots import check_slot

PARTS = ("pricing-table", "modal", "listing")
REQUIREMENTS = st.sets(st.sampled_from(PARTS)).map(tuple)
SEEDS = st.integers(0, 2**32)
CONTRACT = "<header><p>Site</p><p>Line</p></header><footer><p>Bye</p></footer>"


@given(REQUIREMENTS, SEEDS)
@settings(max_examples=60, deadline=None)
def test_every_page_of_the_grammar_is_well_formed_and_has_what_it_needs(
    needs: tuple[str, ...], seed: int
) -> None:
    slot = walk(page_grammar(needs).text, random.Random(seed))
    assert check_slot(slot.strip(), needs) == []
    assert len(slot) < 16_000
    splice = parse_contract(CONTRACT, pages=("index.html",)).page("index.html")
    html5lib.HTMLParser(strict=True).parse(splice.prefix + slot + splice.suffix)


@given(SEEDS)
@settings(deadline=None)
def test_every_contract_of_the_grammar_is_read(seed: int) -> None:
    text = walk(contract_grammar().text, random.Random(seed))
    contract = parse_contract(text, pages=("index.html",))
    assert f'"{contract.palette}"' in text


@given(SEEDS)
@settings(deadline=None)
def test_every_readme_of_the_grammar_has_a_title_and_parts(seed: int) -> None:
    text = walk(markdown_grammar().text, random.Random(seed))
    assert text.startswith("# ")
    assert text.count("\n## ") >= 2


def test_the_harness_adds_no_visible_word_but_table_heads() -> None:
    everything = page_grammar(PARTS).text
    fixed = "\n".join(literals(everything))
    visible = re.sub(r"<th[^>]*>[^<]*</th>", "", fixed)
    visible = re.sub(r"<[^>]*>", " ", visible)
    assert re.findall(r"[A-Za-z]{2,}", visible) == []


@pytest.mark.parametrize(
    ("said", "needs"),
    [
        ("the treatments, with a pricing table", ("pricing-table",)),
        ("a table of all prices", ("pricing-table",)),
        ("payment, and a modal with the rules", ("modal",)),
        ("opens a dialog", ("modal",)),
        ("the visit step by step, a list of what to bring", ("listing",)),
        ("who the doctors are", ()),
        ("a reasonable price", ()),
        ("a stable, enlisted team", ()),
    ],
)
def test_what_a_page_needs_is_read_from_plain_words(said: str, needs: tuple[str, ...]) -> None:
    assert requirements_for(said) == needs
