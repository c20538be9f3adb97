"""An artifact by reference: enough to plan with and to ask for it, a few dozen tokens long.

The hash says whether two turns speak of the same text; the outline says what is in it: titles,
headings, definitions, keys, and of anything else the first line. A reader of the text itself asks
for it by path (`needs` of a worker call). An outline is one pass over a bounded head of the text,
without backtracking, and has a bounded number of short entries: it never costs more than a few
hundred characters, whatever the file is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from familiar.context.message import Fact
from familiar.event import TextRef

DIGITS = 12
MAX_OUTLINE_CHARS = 360


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """`size` in bytes. `maker` is the call that wrote it, empty for a file of an earlier run."""

    path: str
    sha256: str
    size: int
    outline: tuple[str, ...] = ()
    maker: str = ""

    @classmethod
    def of(cls, path: str, ref: TextRef, text: str, maker: str = "") -> ArtifactRef:
        return cls(path, ref.sha256, ref.size, outline(path, text), maker)

    @property
    def digits(self) -> str:
        return self.sha256[:DIGITS]

    @property
    def line(self) -> str:
        by = f" by {self.maker}" if self.maker else ""
        return f"{self.path}{by}: sha256 {self.digits}, {self.size:,} bytes"

    @property
    def described(self) -> str:
        if not self.outline:
            return self.line
        return f"{self.line}\n  {_joined(self.outline)}"

    @property
    def fact(self) -> Fact:
        return Fact(f"file:{self.path}", self.line)


def _joined(outline: tuple[str, ...]) -> str:
    """The entries in one line, as many as fit."""
    shown, left = list[str](), MAX_OUTLINE_CHARS
    for entry in outline:
        left -= len(entry) + 3
        if left < 0:
            return " | ".join((*shown, "…"))
        shown.append(entry)
    return " | ".join(shown)


MAX_SCAN = 128 * 1024
MAX_ENTRIES = 16
MAX_ENTRY_CHARS = 72
_HEADINGS = frozenset(("title", "h1", "h2", "h3"))
_TAG = re.compile(  # no part of it can run past the next `<`, so a search is linear
    r"<(/?)(title|h[1-3]|section|form|table|dialog|template)\b([^<>]{0,300})>", re.IGNORECASE
)
_ANY_TAG = re.compile(r"<[^<>]{0,300}>")
_ID = re.compile(r"""\sid=["']?([A-Za-z0-9_:.\-]{1,60})""")
_DEFINITION = re.compile(
    r"(?:export\s+)?(?:default\s+)?(?:pub\s+)?(?:async\s+)?"
    r"(?:def|class|function|fn|func|struct|enum|trait|impl|interface|type|const|let|var)\s"
)
_KEY = re.compile(r'\s{0,8}"([^"\\]{1,60})"\s*:')
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,60}(?=\s*[:=])")


def outline(path: str, text: str) -> tuple[str, ...]:
    """At most `MAX_ENTRIES` entries of at most `MAX_ENTRY_CHARS` characters each."""
    ending = path.rsplit(".", 1)[-1].lower() if "." in path else ""
    head = text[:MAX_SCAN]
    read = _READERS.get(ending, _first_line)
    entries = (_short(entry) for entry in read(head))
    found = tuple(islice(dict.fromkeys(entry for entry in entries if entry), MAX_ENTRIES + 1))
    if len(found) > MAX_ENTRIES:
        return (*found[: MAX_ENTRIES - 1], "…")
    return found or tuple(islice((_short(line) for line in _first_line(head)), 1))


def _short(entry: str) -> str:
    flat = " ".join(entry[: MAX_ENTRY_CHARS * 4].split())
    return flat if len(flat) <= MAX_ENTRY_CHARS else f"{flat[: MAX_ENTRY_CHARS - 1]}…"


def _page(text: str) -> Iterator[str]:
    """Headings with their text, and sections by their id."""
    opened: tuple[str, int] | None = None
    for tag in _TAG.finditer(text):
        closing, name = tag.group(1), tag.group(2).lower()
        if closing:
            if opened is not None and opened[0] == name:
                inside = text[opened[1] : min(tag.start(), opened[1] + MAX_ENTRY_CHARS * 8)]
                yield f"{name} {_ANY_TAG.sub('', inside)}"
                opened = None
        elif name in _HEADINGS:
            opened = (name, tag.end())
        elif (named := _ID.search(tag.group(3))) is not None:
            yield f"{name} #{named.group(1)}"


def _markdown(text: str) -> Iterator[str]:
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif line.startswith("#") and not fenced:
            yield line


def _definitions(text: str) -> Iterator[str]:
    """Top-level definitions, by their first line."""
    for line in text.splitlines():
        if _DEFINITION.match(line):
            yield line.rstrip("{: ")


def _keys(text: str) -> Iterator[str]:
    """Keys of the outermost object, as far as its lines are laid out one a key."""
    depth = 0
    for line in text.splitlines():
        key = _KEY.match(line)
        if key is not None and depth == 1:
            yield key.group(1)
        depth += line.count("{") + line.count("[") - line.count("}") - line.count("]")


def _settings(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("["):
            yield line
        elif (named := _SETTING.match(line)) is not None:
            yield named.group()


def _selectors(text: str) -> Iterator[str]:
    depth = 0
    for line in text.splitlines():
        if depth == 0 and "{" in line:
            yield line.split("{", 1)[0]
        depth += line.count("{") - line.count("}")


def _statements(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line[:6].upper() == "CREATE":
            yield line.rstrip("( ")


def _first_line(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip():
            yield line
            return


_READERS: dict[str, Callable[[str], Iterator[str]]] = {
    **dict.fromkeys(("html", "htm", "xml", "svg"), _page),
    **dict.fromkeys(("md", "markdown"), _markdown),
    **dict.fromkeys(("py", "pyi", "js", "mjs", "ts", "tsx", "jsx", "rs", "go"), _definitions),
    **dict.fromkeys(("json",), _keys),
    **dict.fromkeys(("yaml", "yml", "toml", "ini", "cfg"), _settings),
    **dict.fromkeys(("css", "scss"), _selectors),
    **dict.fromkeys(("sql",), _statements),
}
