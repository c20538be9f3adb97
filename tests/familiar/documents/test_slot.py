"""A slot is checked in every case; a repair touches tags and never words."""

from __future__ import annotations

import html

import html5lib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from familiar.documents.html.contract import parse_contract
from familiar.documents.html.slot import MAX_TAGS, repair_slot
from familiar.errors import WireError
from tests.familiar.documents.markup_soup import NAMES, soup
from tests.familiar.documents.slots import check_slot

GOOD = "<h1>Teeth</h1>\n<section>\n<h2>Care</h2>\n<p>Brush them.</p>\n</section>"
CONTRACT = parse_contract(
    "<header><p>Site</p><p>Line</p></header><footer><p>Bye</p></footer>", pages=("index.html",)
)


def parses(slot: str) -> None:
    splice = CONTRACT.page("index.html")
    html5lib.HTMLParser(strict=True).parse(splice.prefix + slot + splice.suffix)


def repaired(text: str) -> str | None:
    try:
        return repair_slot(text)[0]
    except WireError:
        return None


def words(markup: str) -> list[str]:
    tree = html5lib.parseFragment(markup, namespaceHTMLElements=False)
    return "".join(tree.itertext()).split()


def test_a_good_slot_has_no_problems_and_is_not_touched() -> None:
    assert check_slot(GOOD) == []
    assert repair_slot(GOOD) == (GOOD, ())


@pytest.mark.parametrize(
    ("slot", "named"),
    [
        ("<p>cut", "<p>"),
        ("<p>a</p></section>", "section"),
        ("<section><p>a</section></p>", "closing"),
        ("<script>alert(1)</script>", "script"),
        ("<header>own</header>", "header"),
        ("<!DOCTYPE html><p>a</p>", "DOCTYPE"),
    ],
)
def test_a_problem_is_named(slot: str, named: str) -> None:
    problems = check_slot(slot)
    assert any(named in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("needs", "named"),
    [
        (("pricing-table",), "table"),
        (("modal",), "dialog"),
        (("listing",), "list"),
    ],
)
def test_what_the_page_needs_is_asked_for(needs: tuple[str, ...], named: str) -> None:
    [problem] = check_slot(GOOD, needs)
    assert named in problem


def test_a_whole_document_gives_up_its_main_part() -> None:
    document = (
        "<!DOCTYPE html><html><head><title>T</title><style>p{}</style></head><body>"
        f"<header><p>Own header</p></header><main>{GOOD}</main><footer>Own</footer></body></html>"
    )
    slot, repairs = repair_slot(document)
    assert slot == GOOD
    assert repairs
    body_only = f"<html><body><nav>links</nav>{GOOD}<footer>Own</footer></body></html>"
    slot, repairs = repair_slot(body_only)
    assert slot == GOOD
    assert any("contract" in repair for repair in repairs)


def test_what_was_left_open_is_closed() -> None:
    slot, repairs = repair_slot("<h1>Teeth</h1><section><p>Brush them")
    assert slot == "<h1>Teeth</h1><section><p>Brush them</p></section>"
    assert any("closed 2" in repair for repair in repairs)


def test_an_item_ends_the_one_before_and_what_is_open_in_it() -> None:
    assert repair_slot("<ul><li><p>one<li>two</ul>")[0] == (
        "<ul><li><p>one</p></li><li>two</li></ul>"
    )


def test_a_list_of_options_holds_nothing_else() -> None:
    slot, repairs = repair_slot("<select><option><b>One</b></option><h2>Two</h2></select>")
    assert slot == "<select><option>One</option>Two</select>"
    assert set(repairs) == {f"dropped <{name}> from a list of options" for name in ("b", "h2")}


@given(soup(NAMES))
@example("<select><h1>a</h1><option>b</select>")
@example("<select><option><b>a</b></select>")
@example("<li>a<summary><li>b")
@example("<svg/></svg>")
@example("<svg><path/></path></svg>")
@example("<ruby><a><rt>x")
@example("<isindex>")
@settings(max_examples=300, deadline=None)
def test_what_passes_the_check_after_a_repair_is_well_formed(text: str) -> None:
    slot = repaired(text)
    if slot is not None:
        assert check_slot(slot) == []
        parses(slot)


@given(soup())
@example('<li><p id="a"><li>')
@example("<h1><textarea />")
@example("<caption><caption><thead>")
@settings(deadline=None)
def test_a_repair_is_done_once(text: str) -> None:
    slot = repaired(text)
    if slot is not None:
        assert repair_slot(slot) == (slot, ())


@given(
    st.lists(
        st.sampled_from(["<p>", "</p>", "<b>", "</b>", "<section>", "</section>", "one ", "two "])
    )
)
def test_a_repair_keeps_every_word_in_its_order(pieces: list[str]) -> None:
    text = "".join(pieces)
    slot = repaired(text) or ""
    assert [
        w for w in html.unescape(slot).replace("<", " <").replace(">", "> ").split() if "<" not in w
    ] == [p.strip() for p in pieces if "<" not in p]


@pytest.mark.parametrize("piece", ["<p>", "<table>", "</p>", "<table><td>", "<li><b>"])
def test_a_page_of_too_many_tags_is_rejected_before_it_is_parsed(piece: str) -> None:
    with pytest.raises(WireError, match=r"50000 tags|inline elements open"):
        repair_slot(piece * (MAX_TAGS + 1))
