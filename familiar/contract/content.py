"""What may stand where in a page's slot, so that a strict HTML parser finds no error in it.

A subset of the content rules of HTML, on the strict side: an element is allowed by its name and by
the elements that are open around it, a tag by how it is written, text by its characters and
character references. A slot that breaks no rule here parses without an error; some slots that would
parse are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.entities import html5

from familiar.contract.markup import VOID, Tag

ALLOWED = frozenset(
    (
        "a",
        "abbr",
        "address",
        "article",
        "aside",
        "b",
        "blockquote",
        "br",
        "button",
        "caption",
        "cite",
        "code",
        "col",
        "colgroup",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "input",
        "label",
        "legend",
        "li",
        "mark",
        "ol",
        "option",
        "p",
        "pre",
        "q",
        "s",
        "section",
        "select",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "textarea",
        "tfoot",
        "th",
        "thead",
        "time",
        "tr",
        "u",
        "ul",
    )
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_ENDS_P = _HEADINGS | frozenset(
    (
        "address",
        "article",
        "aside",
        "blockquote",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
        "form",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "ul",
    )
)
_PARENTS = {
    **dict.fromkeys(("thead", "tbody", "tfoot", "caption", "colgroup"), ("table",)),
    **dict.fromkeys(("td", "th"), ("tr",)),
    **dict.fromkeys(("dt", "dd"), ("dl",)),
    "tr": ("table", "thead", "tbody", "tfoot"),
    "li": ("ul", "ol"),
    "option": ("select",),
    "col": ("colgroup",),
}
_CHILDREN = {
    "table": ("caption", "colgroup", "thead", "tbody", "tfoot", "tr"),
    **dict.fromkeys(("thead", "tbody", "tfoot"), ("tr",)),
    "tr": ("td", "th"),
    "select": ("option",),
    "option": (),
    "colgroup": ("col",),
}
_NEVER_INSIDE = {
    **dict.fromkeys(_HEADINGS, tuple(_HEADINGS)),
    **{name: (name,) for name in ("a", "button", "form")},
}
# What an element that begins ends by itself, and the element that keeps it from looking further.
_ROWS = ("table", "thead", "tbody", "tfoot")
_ENDS = {
    "li": (("li",), ("ul", "ol")),
    "option": (("option",), ("select",)),
    "tr": (("tr", "caption", "colgroup"), _ROWS),
    **dict.fromkeys(("dt", "dd"), (("dt", "dd"), ("dl",))),
    **dict.fromkeys(("td", "th"), (("td", "th"), ("tr",))),
    **dict.fromkeys(
        ("thead", "tbody", "tfoot"),
        (("thead", "tbody", "tfoot", "caption", "colgroup"), ("table",)),
    ),
}
_NAME = re.compile(r"[a-z][a-z0-9]*", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""\s+([a-z_:@][a-z0-9_:@.-]*)(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`/]+))?""", re.IGNORECASE
)
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(
        f"{chr(plane | 0xFFFE)}{chr(plane | 0xFFFF)}" for plane in range(1 << 16, 17 << 16, 1 << 16)
    )
    + "]"
)
_REFERENCE = re.compile(r"&(?:#(\d{1,7});|#[xX]([0-9a-fA-F]{1,6});|([a-zA-Z][a-zA-Z0-9]{1,31};))?")
_PLAIN_AFTER = frozenset(" \t\n\f\r<&")


def ends_before(name: str, open_tags: Sequence[str]) -> int:
    """How many of the open elements end when `name` begins, as HTML lets authors leave it out."""
    ended = 0
    if name in _ENDS_P and "p" in open_tags:
        ended = len(open_tags) - open_tags.index("p")
    closes, stops = _ENDS.get(name, ((), ()))
    for count, open_name in enumerate(reversed(open_tags), start=1):
        if open_name in stops:
            break
        if open_name in closes:
            ended = max(ended, count)
    return ended


def misplaced(name: str, open_tags: Sequence[str]) -> str | None:
    """Why `name` may not begin here, or None."""
    parent = open_tags[-1] if open_tags else ""
    if name not in ALLOWED:
        return f"<{name}> does not belong into a page's slot."
    if ends_before(name, open_tags):
        return f"<{name}> begins inside <{parent}>, which has to be closed before."
    if parent not in _PARENTS.get(name, (parent,)):
        return f"<{name}> stands outside of <{_PARENTS[name][0]}>."
    if name not in _CHILDREN.get(parent, (name,)):
        return f"<{name}> stands directly inside <{parent}>."
    if outer := next((n for n in open_tags if n in _NEVER_INSIDE.get(name, ())), None):
        return f"<{name}> stands inside <{outer}>."
    return None


def misplaced_words(words: str, open_tags: Sequence[str]) -> str | None:
    """Why these words may not stand here, or None. `words` is what is between two tags."""
    if "<" in words:
        return "A < that begins no tag is not written as &lt;."
    if open_tags and words.strip() and open_tags[-1] in _CHILDREN and open_tags[-1] != "option":
        return f"Words stand directly inside <{open_tags[-1]}>."
    return None


def miswritten(text: str, tag: Tag) -> str | None:
    """Why the tag is not written as it should be, or None."""
    written = text[tag.start : tag.end]
    if tag.kind == "close":
        return None if written[2:-1].strip().lower() == tag.name else f"{written[:40]} is torn."
    match = _NAME.match(written, 1)
    at = len(written) if match is None else match.end()
    names: list[str] = []
    while (attribute := _ATTRIBUTE.match(written, at)) is not None:
        names.append(attribute.group(1).lower())
        at = attribute.end()
    rest = written[at:].strip()
    if rest != ">" and not (rest == "/>" and tag.name in VOID):
        return f"{written[:40]} is torn."
    if len(set(names)) != len(names):
        return f"{written[:40]} names an attribute twice."
    return None


def plain(text: str) -> str:
    """The text without control characters, each `&` that begins no reference written as `&amp;`."""
    text = _CONTROL.sub("", text)
    return _REFERENCE.sub(
        lambda match: match.group() if _refers(match) else "&amp;" + match.group()[1:], text
    )


def _refers(match: re.Match[str]) -> bool:
    decimal, hexadecimal, name = match.groups()
    if name is not None:
        return name in html5
    if decimal is None and hexadecimal is None:
        return match.string[match.end() : match.end() + 1] in _PLAIN_AFTER
    number = int(decimal) if decimal is not None else int(hexadecimal, 16)
    return 0x20 <= number <= 0x10FFFF and _CONTROL.match(chr(number)) is None
