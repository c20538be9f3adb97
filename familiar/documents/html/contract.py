"""The contract: header, navigation, footer and look that all pages of a run share, byte for byte.

The first worker call writes `contract.html`: the site's name, a tagline, a line for the footer and
the name of a palette. The navigation comes from the files that the goal names, so that it cannot
point at a page that is not asked for. A page is the shared prefix, the slot that its own call
fills, and the shared suffix; models spend no token on what is shared and cannot disagree about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files as package_files

from turbohtml import Document, Element, parse

from familiar.documents.html.slot import CONTROL
from familiar.errors import WireError

PALETTES: dict[str, tuple[str, str, str]] = {
    "teal": ("#0f766e", "#f0fdfa", "#134e4a"),
    "blue": ("#1d4ed8", "#eff6ff", "#1e3a8a"),
    "green": ("#15803d", "#f0fdf4", "#14532d"),
    "plum": ("#86198f", "#fdf4ff", "#581c87"),
    "slate": ("#334155", "#f8fafc", "#0f172a"),
    "rose": ("#be123c", "#fff1f2", "#881337"),
}
"""Accent, background and heading colours; accent on background has a contrast of at least 4.5."""

MAX_BYTES = 16 * 1024
MAX_LINE = 1200


@dataclass(frozen=True, slots=True)
class Splice:
    """The text in front of a page's slot, and behind it."""

    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class Contract:
    """The shared parts. `version` is 12 hex digits of the hash of all of them."""

    site: str
    palette: str
    header: str
    navigation: str
    footer: str

    @property
    def version(self) -> str:
        shared = "\0".join((self.palette, self.header, self.navigation, self.footer))
        return hashlib.sha256(shared.encode()).hexdigest()[:12]

    def page(self, file: str) -> Splice:
        """The bytes around the slot of `file`. Header, navigation and footer never differ."""
        accent, background, heading = PALETTES[self.palette]
        style = _style().replace("ACCENT", accent).replace("BACKGROUND", background)
        prefix = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{label(file)} | {self.site}</title>\n"
            f"<style>\n{style.replace('HEADING', heading)}</style>\n</head>\n<body>\n"
            f"{self.header}{self.navigation}<main>\n"
        )
        return Splice(prefix, f"\n</main>\n{self.footer}</body>\n</html>\n")


def parse_contract(text: str, *, pages: Sequence[str]) -> Contract:
    """Read the answer of the first call. Raises `WireError` that names what is wrong.

    `<header data-palette="NAME"><p>site</p><p>tagline</p></header><footer><p>line</p></footer>`
    with white space anywhere between the tags.
    """
    if len(text) > MAX_BYTES:
        raise WireError(f"The contract has more than {MAX_BYTES} characters.")
    document = parse(text, source_locations=True)
    header = _element(document, "header")
    footer = _element(document, "footer")
    lines = _lines(header, "header")
    closing = _lines(footer, "footer")
    if len(lines) < 2 or not closing:
        raise WireError(
            "The contract needs two lines in its header (site and tagline) and one in its footer."
        )
    site, tagline = lines[0], lines[1]
    named = header.attr("data-palette")
    palette = named if isinstance(named, str) and named in PALETTES else "teal"
    links = "".join(f'<li><a href="{page}">{label(page)}</a></li>\n' for page in pages)
    return Contract(
        site=site,
        palette=palette,
        header=f'<header>\n<p class="site">{site}</p>\n<p>{tagline}</p>\n</header>\n',
        navigation=f'<nav aria-label="Main">\n<ul>\n{links}</ul>\n</nav>\n',
        footer=f"<footer>\n<p>{closing[0]}</p>\n</footer>\n",
    )


def label(page: str) -> str:
    stem = page.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    if stem == "index":
        return "Home"
    words = "".join(char if char.isalnum() else " " for char in stem).split()
    return " ".join(words).capitalize() or "Page"


def _element(document: Document, name: str) -> Element:
    """The first `name` element; it must be closed, so that a contract that was cut is none."""
    found = document.find(name)
    where = None if found is None else found.source_location
    if found is None or where is None or where.end_tag is None:
        raise WireError(f"The contract has no complete <{name}> element.")
    return found


def _lines(element: Element, name: str) -> list[str]:
    """The texts between the tags, escaped; a line that is too long is rejected."""
    texts = (" ".join(CONTROL.sub("", text).split()) for text in element.strings)
    lines = [escape(text, quote=False) for text in texts if text]
    if any(len(line) > MAX_LINE for line in lines):
        raise WireError(f"A line of the contract's {name} has more than {MAX_LINE} characters.")
    return lines


@cache
def _style() -> str:
    return package_files("familiar.documents.html").joinpath("page.css").read_text(encoding="utf-8")
