"""Which paths can name a file of a workspace: the one rule, for plans, requests and the workspace.

A path is judged by its text: what git, a kernel or a person could be fooled by is rejected wherever
it appears, so a plan that passes here cannot fail for its path later. `planned_path_problem` is the
same rule with less room: what a plan or a request names may also not be the harness's own.
The kernel has the last word when the file is opened (`openat2` with `RESOLVE_BENEATH`), because
text cannot know of symbolic links.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_PATH = 1024
"""Bytes of UTF-8 in a whole path; Linux takes 4096 with the root in front."""

LONGEST_PLANNED_PATH = 240
"""Characters in a path that a plan names; the rest is room for temporary names beside it."""

LONGEST_PART = 255
"""Bytes of UTF-8 in one part: NAME_MAX of the file systems in use."""

_HARNESS = ".familiar"
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_QUOTES = frozenset("“”‘’«»")
_UNSEEN = frozenset({"Cf", "Zs", "Zl", "Zp", "Cn"})
"""Unicode categories: zero width and bidirectional marks, blanks other than the space, and code
points without a character."""


def path_problem(path: str) -> str | None:
    """Why `path` cannot name a file of a workspace; None when it can."""
    if not path or len(path.encode("utf-8", "replace")) > LONGEST_PATH:
        return f"a path has 1 to {LONGEST_PATH} bytes"
    if _NO_TEXT.search(path):
        return "it holds a control character or is not Unicode text"
    if path.startswith("/"):
        return "it is absolute and must be relative to the workspace"
    if "\\" in path:
        return "it holds a backslash"
    for part in path.split("/"):
        if part in {"", "."}:
            return "it has an empty part"
        if part == "..":
            return "it leaves the workspace"
        if len(part.encode()) > LONGEST_PART:
            return f"a part is longer than {LONGEST_PART} bytes"
        # Git takes these for its own folder on some file systems, so it is rejected everywhere.
        name = part.lower().partition(":")[0]
        if name.rstrip(". ") == ".git" or name.startswith("git~"):
            return "it points into git's own folder"
    return None


def planned_path_problem(path: str) -> str | None:
    """Why a plan or a request cannot name `path` as a file to be written; None when it can."""
    if len(path) > LONGEST_PLANNED_PATH:
        return f"it must have at most {LONGEST_PLANNED_PATH} characters"
    if (found := path_problem(path)) is not None:
        return found
    parts = path.split("/")
    if any(part != part.strip() for part in parts):
        return "a part begins or ends with a blank"
    if any(char in "\"'`" for char in path) or {path[0], path[-1]} & _QUOTES:
        return "it holds a quote"
    if any(char in "<>|*?\ufffd" for char in path):
        return "it holds a character that stands for something else: < > | * ? or U+FFFD"
    if any(char != " " and unicodedata.category(char) in _UNSEEN for char in path):
        return "it holds a character that cannot be seen or that turns the text around"
    if unicodedata.normalize("NFC", path) != path:
        return "its characters are not in Unicode's composed form (NFC)"
    if path.startswith("~"):
        return "it must be relative to the workspace, and ~ is a home folder"
    if parts[0].lower().rstrip(". ") == _HARNESS:
        return f"{_HARNESS} belongs to the harness"
    return None
