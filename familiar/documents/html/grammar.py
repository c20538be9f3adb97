"""The output grammars of the package: the text that a slot may take, token by token.

A grammar is put together from the fragments in `grammars/`: `text` is how words, titles and
sentences look, bounded so that decoding always ends, and the rest is structure. Every visible word
outside the heads of a table is the model's own choice; tags, ids and handlers are fixed. Notation:
EBNF as xgrammar reads it, start rule `root`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from familiar.documents.html.contract import PALETTES
from familiar.documents.html.parts import PARTS
from familiar.engine import OutputGrammar


def page_grammar(requires: Sequence[str]) -> OutputGrammar:
    """`html-page`: a heading, a section or two, and the parts that the page requires."""
    parts = [part.rule for name, part in PARTS.items() if name in requires]
    sections = "section" if parts else "section{2}"
    root = f"root ::= heading {' '.join([sections, *parts])}\n"
    return OutputGrammar("ebnf", root + _fragment("html-page") + _fragment("text"))


def contract_grammar() -> OutputGrammar:
    """`html-contract`: the site's name, tagline, footer line and palette."""
    palettes = " | ".join(f'"{name}"' for name in PALETTES)
    rules = f"{_fragment('html-contract')}palette ::= {palettes}\n{_fragment('text')}"
    return OutputGrammar("ebnf", rules)


def markdown_grammar() -> OutputGrammar:
    """`markdown`: a title, an opening paragraph, two or three headed parts."""
    return OutputGrammar("ebnf", _fragment("markdown") + _fragment("text"))


@cache
def _fragment(name: str) -> str:
    file = files("familiar.documents.html").joinpath("grammars", f"{name}.ebnf")
    return file.read_text(encoding="utf-8").rstrip("\n") + "\n"
