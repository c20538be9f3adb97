"""The slot of a page: read by an HTML parser, written anew where the parser had to recover.

turbohtml builds the tree that a browser would build. When the tree says the same as the text, token
by token, the text stays as it is, byte for byte. Otherwise the tree is written out, without the
parts that the contract holds, and each change is noted. A slot is accepted only when the parser
reads it back without an error and writes the same text again, so a second repair changes nothing.

Rejected: elements that load or hide other documents, an element whose text would swallow the rest
of the page because it is never closed, and text that makes a parser's work or its tree grow faster
than the text (`_check_bounds`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from turbohtml import Comment, Element, Node, TokenType, parse, tokenize

from familiar.errors import WireError

MAX_CHARS = 1024 * 1024
MAX_DEPTH = 128
MAX_COPIES = 200_000
MAX_TAGS = 50_000
ROUNDS = 5

_OPENING = "<!DOCTYPE html><html><head><title>-</title></head><body>"


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_VOID = _names("area base br col embed hr img input link meta source track wbr")
_FORMATTING = _names("a b big code em font i nobr s small strike strong tt u")
_SHARED = _names("header nav footer")
_DROPPED = _names("script style title link meta base head")
_SECTIONS = _names("article section aside dialog details blockquote")
_SWALLOWS = _names("script style title textarea xmp iframe noembed noframes plaintext select")
_NEVER = _names("iframe object embed applet frame template noscript xmp noembed noframes plaintext")
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(f"{chr(at | 0xFFFE)}{chr(at | 0xFFFF)}" for at in range(1 << 16, 17 << 16, 1 << 16))
    + "]"
)
_BARE = re.compile(r"&(?!#[0-9xX]|[A-Za-z][A-Za-z0-9]{1,31};)")
_OPTIONS = _names("select optgroup option")
_RUBY = _names("rt rp rb rtc")
_ITEMS = _names("li dt dd")
_LISTS = _names("ul ol menu dl")
_LATER = _names("figcaption hgroup search summary")
_TABLES = _names("table tbody thead tfoot tr")


def repair_slot(text: str) -> tuple[str, tuple[str, ...]]:
    """The slot in `text`, and each change. Raises `WireError` where no slot can be made."""
    if len(text) > MAX_CHARS:
        raise WireError(f"The page has more than {MAX_CHARS} characters.")
    clean = CONTROL.sub("", text)
    notes = ["removed control characters"] if clean != text else []
    slot = clean.strip()
    written, dropped, errors = _read(slot)
    if not errors and not dropped and _tokens(written) == _tokens(slot):
        return slot, tuple(notes)
    notes += dropped + _differences(slot, written)
    for _ in range(ROUNDS):
        again, dropped, errors = _read(written)
        if again == written and not errors and not dropped:
            if not written:
                raise WireError("; ".join(["The page has no content of its own", *notes]) + ".")
            return written, tuple(notes) or ("moved closing tags to their elements",)
        written = again
    raise WireError(
        "The page's elements are nested wrongly: browsers and parsers would read them differently."
    )


def _read(slot: str) -> tuple[str, list[str], bool]:
    """The slot as the parser's tree says it, each part that was dropped, and whether there were
    errors."""
    _check_bounds(slot)
    document = parse(_OPENING + slot, source_locations=True)
    body = document.find("body")
    if body is None:
        raise WireError("The page has no body.")
    dropped: list[str] = []
    for node in _nodes(body):
        if isinstance(node, Element):
            dropped += _settle(node)
        elif isinstance(node, Comment):
            node.decompose()
            dropped.append("dropped a comment")
    written = CONTROL.sub("", body.inner_html).strip()
    # A bare & is no error today, and one for older parsers: it is written as a reference.
    errors = bool(document.errors) or _BARE.search(slot) is not None
    return written, list(dict.fromkeys(dropped)), errors


def _settle(element: Element) -> list[str]:
    """Drop or unwrap one element of the tree as the contract asks. The result says it in words."""
    name = element.tag
    where = element.source_location
    if name in _NEVER:
        raise WireError(f"<{name}> is not allowed in a page's slot.")
    closed = where is not None and where.end_tag is not None
    if name in _SWALLOWS and not closed:
        raise WireError(
            f"<{name}> is never closed, so the rest of the page would be lost. "
            f"Write a tag that is shown as text as &lt;{name}&gt;."
        )
    if name in ("tbody", "colgroup") and where is None:
        element.unwrap()
    elif name in ("p", "br") and where is None and not element.children:
        element.decompose()
    elif _is_misplaced(element):
        element.unwrap()
    elif name not in _OPTIONS and _tag_of(element.parent) in _OPTIONS:
        # Older parsers drop such a tag, newer ones keep it.
        element.unwrap()
        return [f"dropped <{name}> from a list of options"]
    elif name == "main":
        element.unwrap()
        return ["took the main part out of a whole document"]
    elif name in _DROPPED:
        element.decompose()
        return [f"dropped <{name}>, which the contract holds"]
    elif name in _SHARED:
        if closed and not any(_tag_of(outer) in _SECTIONS for outer in element.ancestors):
            element.decompose()
        else:
            element.unwrap()
        return [f"dropped <{name}>, which the contract holds"]
    return []


def _is_misplaced(element: Element) -> bool:
    """Elements that browsers keep today where parsers of a few years ago move or reject them: ruby
    text without its ruby, items in an element that came to HTML later."""
    name, parent = element.tag, _tag_of(element.parent)
    if name in _RUBY:
        return parent not in ("ruby", "rtc")
    if name not in _ITEMS:
        return name == "isindex" or (name == "form" and parent in _TABLES)
    later = False
    for tag in map(_tag_of, element.ancestors):
        if tag in _ITEMS or tag in _LISTS:
            return later and tag in _ITEMS
        later = later or tag in _LATER
    return False


def _tag_of(node: Node | None) -> str:
    return node.tag if isinstance(node, Element) else ""


def _nodes(body: Element) -> list[Node]:
    """All nodes below `body`, parents first. Raises `WireError` when they are nested too deep."""
    found: list[Node] = []
    level: list[Node] = list(body.children)
    for _ in range(MAX_DEPTH):
        found += level
        level = [child for node in level if isinstance(node, Element) for child in node.children]
        if not level:
            return found
    raise WireError(f"The page's elements are nested more than {MAX_DEPTH} deep.")


def _check_bounds(slot: str) -> None:
    """HTML opens an inline element that was left open again in each block that follows: a tree
    can have (elements left open) times (tags) nodes. That product is bounded before the parse."""
    open_tags: list[str] = []
    count: Counter[str] = Counter()
    left_open = tags = 0
    for kind, name in _tags(slot):
        tags += 1
        if tags > MAX_TAGS:
            raise WireError(f"The page has more than {MAX_TAGS} tags.")
        if kind is TokenType.START_TAG:
            if name not in _VOID:
                open_tags.append(name)
                count[name] += 1
        elif count[name]:
            if open_tags[-1] != name:
                left_open += name in _FORMATTING
            while (last := open_tags.pop()) != name:
                count[last] -= 1
                left_open += last in _FORMATTING
            count[name] -= 1
    left_open += sum(name in _FORMATTING for name in open_tags)
    if left_open * tags > MAX_COPIES:
        raise WireError(f"The page leaves {left_open} inline elements open.")


def _tags(slot: str) -> Iterator[tuple[TokenType, str]]:
    for token in tokenize(slot):
        if token.type in (TokenType.START_TAG, TokenType.END_TAG) and token.tag is not None:
            yield token.type, token.tag


def _tokens(slot: str) -> list[tuple[object, ...]]:
    """The tokens, with neighbouring texts joined, without how attributes are quoted."""
    found: list[tuple[object, ...]] = []
    words: list[str] = []
    for token in tokenize(slot):
        if token.type is TokenType.TEXT:
            words.append(token.data or "")
            continue
        if words:
            found.append(("".join(words),))
            words.clear()
        # An element that closes itself may have an end tag too many behind it.
        closed = token.self_closing and token.tag not in _VOID
        found.append((token.type, token.tag, token.data, tuple(token.attrs or ()), closed))
    if words:
        found.append(("".join(words),))
    return found


def _differences(before: str, after: str) -> list[str]:
    old, new = Counter(_tags(before)), Counter(_tags(after))
    notes: list[str] = []
    more, fewer = new - old, old - new
    closed = [name for (kind, name), _ in more.items() if kind is TokenType.END_TAG]
    if closed:
        number = sum(n for (kind, _), n in more.items() if kind is TokenType.END_TAG)
        notes.append(f"closed {number} open tag(s): {_named(closed, '<')}")
    stray = [
        name
        for (kind, name), _ in fewer.items()
        if kind is TokenType.END_TAG and not fewer[TokenType.START_TAG, name]
    ]
    if stray:
        notes.append(f"dropped closing tag(s) without an open element: {_named(stray, '</')}")
    if any(token.type is TokenType.DOCTYPE for token in tokenize(before)):
        notes.append("dropped <!DOCTYPE>")
    if after.count("&") > before.count("&"):
        notes.append("escaped < and & that begin no tag or reference")
    return notes


def _named(names: Sequence[str], mark: str) -> str:
    return ", ".join(f"{mark}{name[:20]}>" for name in names[:8])
