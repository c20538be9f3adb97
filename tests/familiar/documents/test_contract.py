"""All pages of a run share their header, navigation and footer to the letter."""

from __future__ import annotations

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.documents.html.contract import PALETTES, parse_contract
from familiar.errors import WireError

TEXT = (
    '<header data-palette="plum">\n<p>Bright Smile</p>\n<p>Care for all ages.</p>\n</header>\n'
    "<footer>\n<p>We look forward to your visit.</p>\n</footer>\n"
)
PAGES = ("index.html", "services.html", "first-visit.html")
SLOT = "<h1>Hello</h1>\n<p>Welcome.</p>"


def test_every_page_is_the_same_around_its_slot() -> None:
    contract = parse_contract(TEXT, pages=PAGES)
    assert contract.site == "Bright Smile"
    assert contract.palette == "plum"
    bodies = []
    for file in PAGES:
        splice = contract.page(file)
        page = splice.prefix + SLOT + splice.suffix
        html5lib.HTMLParser(strict=True).parse(page)
        assert page.startswith("<!DOCTYPE html>\n<html lang=")
        assert splice.prefix.count(contract.header) == 1
        assert splice.prefix.count(contract.navigation) == 1
        assert splice.suffix.count(contract.footer) == 1
        bodies.append((splice.prefix.split("<body", 1)[1].split(">", 1)[1], splice.suffix))
    assert len(set(bodies)) == 1
    assert len({contract.page(file).prefix for file in PAGES}) == len(PAGES), "titles differ"


def test_the_navigation_comes_from_the_goals_files() -> None:
    navigation = parse_contract(TEXT, pages=PAGES).navigation
    assert [navigation.index(f'href="{file}"') for file in PAGES] == sorted(
        navigation.index(f'href="{file}"') for file in PAGES
    )
    assert navigation.count("<a ") == len(PAGES)
    assert ">Home<" in navigation
    assert ">First visit<" in navigation


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "header"),
        ("<header><p>a</p><p>b</p></header>", "footer"),
        ("<header><p>a</p><p>b</p><footer><p>c</p></footer>", "header"),
        ("<header><p>a</p></header><footer><p>c</p></footer>", "header"),
        ("<header><p>a</p><p>b</p></header><footer></footer>", "footer"),
        (f"<header><p>{'a' * 2000}</p><p>b</p></header><footer><p>c</p></footer>", "header"),
        ("<header>" + "x" * 100_000, "contract"),
    ],
)
def test_what_is_not_a_contract_is_rejected_by_name(text: str, named: str) -> None:
    with pytest.raises(WireError, match=named):
        parse_contract(text, pages=PAGES)


def test_the_version_changes_with_whatever_is_shared() -> None:
    version = parse_contract(TEXT, pages=PAGES).version
    assert version == parse_contract(TEXT, pages=PAGES).version
    assert version != parse_contract(TEXT, pages=PAGES[:2]).version
    assert version != parse_contract(TEXT.replace("visit", "call"), pages=PAGES).version
    assert version != parse_contract(TEXT.replace("plum", "teal"), pages=PAGES).version


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=40)


@given(site=WORDS, tagline=WORDS, closing=WORDS, palette=st.sampled_from(sorted(PALETTES)))
def test_no_words_break_out_of_the_contract(
    site: str, tagline: str, closing: str, palette: str
) -> None:
    """Whatever stands in it, a contract that is accepted gives well-formed pages."""
    text = (
        f'<header data-palette="{palette}"><p>{site}</p><p>{tagline}</p></header>'
        f"<footer><p>{closing}</p></footer>"
    )
    try:
        contract = parse_contract(text, pages=PAGES)
    except WireError:
        return
    splice = contract.page("index.html")
    html5lib.HTMLParser(strict=True).parse(splice.prefix + SLOT + splice.suffix)


def _channel(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.2126 * _channel(red) + 0.7152 * _channel(green) + 0.0722 * _channel(blue)


@pytest.mark.parametrize("palette", sorted(PALETTES))
def test_every_palette_can_be_read(palette: str) -> None:
    accent, background, heading = map(_luminance, PALETTES[palette])
    for front in (accent, heading):
        assert (background + 0.05) / (front + 0.05) >= 4.5
    assert (1.0 + 0.05) / (accent + 0.05) >= 4.5, "white on the accent"
