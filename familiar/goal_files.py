"""The files that a goal names, and the path that each name was taken for.

A name in backticks is a file whatever its alphabet, when it has an extension, a folder, or the name
of a file that has none (`Dockerfile`). A bare name is one with an extension that people do not also
use for products (`Node.js` is not a file). `src\\a.py` and `./a.py` are taken for what they mean; a
name that leaves the workspace is told and not taken. Linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from familiar.path import planned_path_problem

_QUOTED = re.compile(r"`([^`\n]{1,240})`")
_KNOWN = (
    r"\.(?:html?|css|scss|md|rst|tex|txt|py|ipynb|json|ya?ml|toml|xml|ini|cfg|csv|svg|sql|sh|bat|ps1|"
    r"rs|go|tsx?|jsx|mjs|cjs|java|kt|rb|cpp|hpp|php|swift|lua)"
)
_BEFORE = r"(?:[A-Za-z]:[/\\]|~?[/\\]|(?:\.{1,2}[/\\]){1,8})?"
_NAME = rf"{_BEFORE}\w[\w\-]{{0,80}}(?:[./\\][\w\-]{{1,80}}){{0,8}}"
_BARE = re.compile(rf"(?<![\w./:\-@`+\\~])({_NAME}{_KNOWN})(?![A-Za-z0-9_/\\\-])")
_DRIVE = re.compile(r"[A-Za-z]:/")
_ODD = re.compile(rf"[\w./@%$()\[\]\-]+{_KNOWN}\Z")
"""A quoted name that only looks like code: `[id].tsx`, `name(1).txt`."""

_EXTENSION = re.compile(r"[^/]\.[A-Za-z0-9]{1,8}$|^\.[\w.-]+$|/\.[\w.-]+$")
_WITHOUT = frozenset(
    (
        "dockerfile",
        "containerfile",
        "makefile",
        "justfile",
        "procfile",
        "gemfile",
        "rakefile",
        "vagrantfile",
        "jenkinsfile",
        "license",
        "readme",
        "changelog",
        "authors",
        "codeowners",
        "notice",
    )
)
_NO_FILE = re.compile(r"[()<>|*?=$%;,\[\]{}]|://|^-|^\w+@|\s(?:--?\w|&&)")


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A name as it is `written` in the goal, and its `path`; `problem` when it names no file."""

    written: str
    path: str
    problem: str | None = None


def named_paths(text: str) -> tuple[NamedPath, ...]:
    """The names in the order in which the text first has them."""
    found: list[tuple[int, NamedPath]] = []
    for match in _QUOTED.finditer(text):
        if (named := _quoted(match.group(1))) is not None:
            found.append((match.start(), named))
    # A quoted name is read as a whole: its tail is no bare name.
    bare = _QUOTED.sub(lambda match: "`" * len(match.group()), text)
    found += [(match.start(), _named(match.group(1))) for match in _BARE.finditer(bare)]
    found.sort(key=lambda item: item[0])
    return tuple(dict.fromkeys(named for _, named in found))


def _quoted(written: str) -> NamedPath | None:
    name = written.strip().replace("\\", "/")
    last = name.rsplit("/", 1)[-1]
    if not name or any(".." in part and part != ".." for part in name.split("/")):
        return None
    if _NO_FILE.search(name) and not _ODD.match(name):
        return None
    named = _EXTENSION.search(name) is not None or last.lower() in _WITHOUT
    folder = "/" in name and " " not in name and not name.endswith("/") and name[0] not in "/~"
    return _named(written) if named or folder else None


def _named(written: str) -> NamedPath:
    path = unicodedata.normalize("NFC", written.strip()).replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    if _DRIVE.match(path):
        return NamedPath(written, path, "it is absolute and must be relative to the workspace")
    return NamedPath(written, path, planned_path_problem(path))
