"""What models write when nobody holds them to a grammar: pieces of HTML in any order."""

from __future__ import annotations

from hypothesis import strategies as st

BLOCKS = ("h1", "h2", "p", "section", "div", "ul", "li", "dialog", "form", "details", "pre", "hr")
INLINE = ("b", "a", "button", "span", "br", "input", "textarea", "select", "option", "summary")
TABLES = ("table", "caption", "thead", "tbody", "tr", "td", "dl", "dt", "dd")
ODD = ("optgroup", "figcaption", "hgroup", "search", "svg", "math", "path", "ruby", "rt", "isindex")
NAMES = BLOCKS + INLINE + TABLES + ODD
FRAMES = ("html", "body", "main", "header", "footer", "nav", "head", "style", "script")
WORDS = st.sampled_from(
    [
        "teeth",
        "Open from 9 to 5",
        "3 < 5",
        "R&D",
        "&amp;",
        "&copy",
        "&#0;",
        "&#x41;",
        "&nope;",
        "\x01",
        "ä",
        " ",
        "\n",
        "<",
        ">",
    ]
)


def soup(names: tuple[str, ...] = NAMES + FRAMES) -> st.SearchStrategy[str]:
    name = st.sampled_from(names)
    opening = st.builds("<{}>".format, name) | st.builds('<{} class="x">'.format, name)
    closing = st.builds("</{}>".format, name)
    attributes = st.builds(
        "<{} {}>".format,
        name,
        st.sampled_from(
            ['id="a"', "id=a", "hidden", 'id="a" id="b"', "id='a\"", '"', "=", "/", 'a="&x"']
        ),
    )
    odd = st.sampled_from(
        [
            "<br>",
            "<svg/>",
            "<path/>",
            "<!-- note -->",
            "<!DOCTYPE html>",
            '<p class="',
            "<img",
            "</",
            "<hr>",
        ]
    )
    return st.lists(opening | closing | WORDS | attributes | odd, max_size=30).map("".join)
